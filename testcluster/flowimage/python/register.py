# python register.py FLOW [PARAMETERS-JSON] [LABEL...], on the host or in the image: registers the stored flow and prints
# the id of a new run. 0.11.0 needs the very pickle that lies in the image: its task slugs are random, and a run
# matches tasks by slug. FLOWS is the folder of the pickles, IMAGE the image that holds them, RUN_CONFIG more of a
# KubernetesRun as JSON.
import json
import os
import sys

import cloudpickle
import prefect
from prefect import Client

IN_IMAGE = "/opt/prefect/flows"
name, parameters, labels = sys.argv[1], json.loads((sys.argv[2:] or ["{}"])[0]), sys.argv[3:]
with open("%s/%s.prefect" % (os.environ.get("FLOWS", IN_IMAGE), name), "rb") as stored:
    flow = cloudpickle.load(stored)
repository, _, tag = os.environ.get("IMAGE", "localhost/flow:" + prefect.__version__).rpartition(":")
registry, _, image = repository.rpartition("/")
client = Client()
if prefect.__version__.startswith("0."):
    from prefect.environments.storage import Docker

    project = None
    flow.environment.labels = set(labels)
else:
    from prefect.run_configs import KubernetesRun
    from prefect.storage import Docker

    project = os.environ.get("PROJECT", "e2e")
    client.create_project(project)
    flow.run_config = KubernetesRun(labels=labels, **json.loads(os.environ.get("RUN_CONFIG", "{}")))
flow.storage = Docker(registry_url=registry, image_name=image, image_tag=tag)
flow.storage.flows = {name: "%s/%s.prefect" % (IN_IMAGE, name)}
flow.storage._flows = {name: flow}
flow_id = flow.register(project, build=False, no_url=True)
print(client.create_flow_run(flow_id=flow_id, parameters=parameters))
