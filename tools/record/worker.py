"""Runs in the virtual environment of one release and writes its cases.

Each case runs in a process of its own, forked before Prefect is imported, because
Prefect reads its configuration when it is imported.
"""
import importlib
import json
import os
import pathlib
import pickle
import re
import shutil
import sys
import tempfile
import traceback

import cases
import recorders

# What Prefect imports, so that each fork finds it imported already.
SHARED = "click cloudpickle croniter dask distributed docker kubernetes marshmallow marshmallow_oneofschema pendulum requests slugify tabulate toml tornado yaml".split()

KUBECONFIG = """apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "%s"}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
users: [{name: u, user: {}}]
current-context: c
"""


def masked(value, places):
    """Puts placeholders in the place of what differs from run to run."""
    if isinstance(value, str):
        for text, placeholder in places:
            value = value.replace(text, placeholder)
        value = re.sub(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[^\]]*\]", "[<time>]", value)
        value = re.sub(r" at 0x[0-9a-f]+", " at 0x<addr>", value)
        return re.sub(r"(?s)Traceback \(most recent call last\):\n.*?\n(?=\S[^\n]*\n*$)", "<traceback>\n", value)
    if isinstance(value, dict):
        return {masked(k, places): masked(v, places) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(item, places) for item in value]
    return value


def run(version, folder, case, base):
    """The case as it is written: what went in and what came out."""
    home, here = base / "home", base / "dir"
    for place in (home, here):
        place.mkdir()
    given = case["input"]
    stub = recorders.Stub(given)
    places = [(str(home), "{{HOME}}"), (str(here), "{{DIR}}"), (sys.prefix, "{{SITE}}"), (stub.api, "{{API}}"), (stub.api.split("//")[1], "{{API_HOST}}"), (stub.k8s, "{{K8S}}")]

    def filled(text):
        for place, placeholder in places:
            text = text.replace(placeholder, place)
        return text

    for top, files in ((here, given.get("files", {})), (home, given.get("home_files", {}))):
        for name, text in files.items():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_text(filled(text))
    kubeconfig = os.environ["KUBECONFIG"]
    pathlib.Path(kubeconfig).write_text(KUBECONFIG % stub.k8s)
    os.environ.clear()
    os.environ.update({"PATH": "/usr/bin:/bin", "HOME": str(home), "TZ": "UTC", "LC_ALL": "C.UTF-8", "KUBECONFIG": kubeconfig})
    os.environ.update({name: filled(value) for name, value in given.get("environment", {}).items()})
    os.chdir(here)
    real = json.loads(filled(json.dumps(given)))
    source, result = recorders.RECORDERS[folder](version, case, real, stub)
    written = {"name": case["name"], "feature": case["feature"], "versions": [version], "source": {"prefect": version, **source}, "input": given}
    written.update(masked(result, places))
    if case.get("note"):
        written["note"] = case["note"]
    return written


def forked(version, folder, case):
    base = pathlib.Path(tempfile.mkdtemp())
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            answer = run(version, folder, case, base)
        except BaseException:  # the parent tells of it
            answer = traceback.format_exc()
        with os.fdopen(writer, "wb") as pipe:
            pickle.dump(answer, pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pickle.load(pipe)
    os.waitpid(child, 0)
    shutil.rmtree(base)
    if isinstance(answer, str):
        sys.exit("%s %s/%s: %s" % (version, folder, case["name"], answer))
    return answer


def main(version, out):
    # Its client reads the variable when it is imported.
    os.environ["KUBECONFIG"] = tempfile.mkstemp()[1]
    for name in SHARED:
        importlib.import_module(name)
    for folder, list_of in cases.FOLDERS.items():
        for case in list_of(version):
            file = out / folder / (case["name"] + ".json")
            if file.exists():
                sys.exit("two cases are called %s/%s" % (folder, case["name"]))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(forked(version, folder, case), indent=1, ensure_ascii=False) + "\n")
    os.remove(os.environ["KUBECONFIG"])


if __name__ == "__main__":
    main(sys.argv[1], pathlib.Path(sys.argv[2]))
