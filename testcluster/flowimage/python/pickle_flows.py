# python pickle_flows.py FOLDER: stores every flow of flows.py in the folder, whole, so that reading one needs no flows.py.
import sys

import cloudpickle
import flows

if hasattr(cloudpickle, "register_pickle_by_value"):
    cloudpickle.register_pickle_by_value(flows)
for name, flow in flows.FLOWS.items():
    with open("%s/%s.prefect" % (sys.argv[1], name), "wb") as out:
        out.write(cloudpickle.dumps(flow))
