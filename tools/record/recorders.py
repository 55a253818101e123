"""The four ways of running a case: a command line, a manifest, a Job, a whole agent."""
import contextlib
import http.server
import inspect
import io
import json
import threading
import time
import urllib.parse
import uuid

import graphql

CONFIGURATION = ["backend", "cloud.api", "cloud.agent.level", "cloud.agent.name", "cloud.agent.labels", "cloud.agent.env_vars", "cloud.agent.agent_address", "cloud.agent.auth_token", "cloud.api_key", "cloud.tenant_id", "cloud.send_flow_run_logs"]
TENANT = "99999999-9999-4999-8999-999999999999"


class Stub:
    """Plays the Prefect API and the Kubernetes API, and keeps what was exchanged."""

    def __init__(self, given):
        self.backend = {root: list(answers) for root, answers in given.get("backend", {}).items()}
        self.cluster = {"jobs": [], "pods": [], **given.get("cluster", {})}
        self.exchanges = []
        self.lock = threading.Lock()
        self.api = self.serve(self.prefect) if "backend" in given else "http://127.0.0.1:1"
        self.k8s = self.serve(self.kubernetes) if "backend" in given else "http://127.0.0.1:2"

    def serve(self, answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, body = answer(self, json.loads(data) if data else None)
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_DELETE = handle_any

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return "http://127.0.0.1:%d" % server.server_port

    @staticmethod
    def headers(request, names):
        return {name: request.headers[name] for name in sorted(names) if request.headers[name] is not None}

    def prefect(self, request, body):
        canonical, operation, root = graphql.Document(body["query"]).canonical()
        variables = body.get("variables")
        is_string = isinstance(variables, str)
        with self.lock:
            answers = self.backend.get(root, [])
            scripted = answers.pop(0) if len(answers) > 1 else (answers or [{"status": 400, "json": {"errors": [{"message": "Cannot query field " + root}]}}])[0]
            status = scripted.get("status", 200)
            answer = scripted["json"] if "json" in scripted else {"data": scripted["data"]}
            self.exchanges.append({"api": "prefect", "request": {
                "method": request.command, "path": request.path,
                "headers": self.headers(request, ["Accept", "Authorization", "Content-Type", "X-PREFECT-AGENT-ID", "X-PREFECT-CORE-VERSION", "X-PREFECT-TENANT-ID"]),
                "body_keys": sorted(body), "query": body["query"], "variables_is_string": is_string, "variables": json.loads(variables) if is_string else variables,
                "operation": operation, "root": root, "canonical_query": canonical,
            }, "answer": {"status": status, "json": answer}})
        return status, answer

    def kubernetes(self, request, body):
        url = urllib.parse.urlsplit(request.path)
        kind = url.path.rstrip("/").rsplit("/", 1)[1]
        with self.lock:
            if request.command == "POST":
                self.cluster["jobs"].append(body)
                status, answer, shown = 201, body, {"status": 201, "created": body["metadata"]["name"]}
            elif request.command == "GET":
                items = self.cluster.get(kind, [])
                status, answer = 200, {"kind": {"jobs": "JobList", "pods": "PodList", "events": "EventList"}[kind], "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}
                shown = {"status": 200, "list": answer["kind"], "metadata": answer["metadata"], "items": [i["metadata"]["name"] for i in items]}
            else:
                self.cluster["jobs"] = [j for j in self.cluster["jobs"] if j["metadata"]["name"] != kind]
                status, answer, shown = 200, {"kind": "Status", "apiVersion": "v1", "status": "Success"}, {"status": 200}
            recorded = {"method": request.command, "path": url.path, "query": dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True)), "headers": self.headers(request, ["Accept", "Content-Type"])}
            if body is not None:
                recorded["body"] = body
            self.exchanges.append({"api": "kubernetes", "request": recorded, "answer": shown})
        return status, answer


def plain(value):
    """A value as JSON has it."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def failure(error):
    return {"class": type(error).__name__, "message": str(error)}


def configuration():
    import prefect

    found = {}
    for key in CONFIGURATION:
        value = prefect.config
        for part in key.split("."):
            if not hasattr(value, "get") or part not in value:
                value = None
                break
            value = value[part]
        if value is not None or key in ("cloud.agent.env_vars",):
            found[key] = plain(value)
    return found


def number_identifiers():
    """uuid4 counts from 4f0c1a9e."""
    count = [0]

    def fixed():
        text = "%08x-%04x-4000-8000-000000000000" % (0x4F0C1A9E + 0x01010101 * count[0], count[0])
        count[0] += 1
        return uuid.UUID(text)

    uuid.uuid4 = fixed


def call(command):
    """Runs the command line of Prefect, as its script does."""
    out, err, result = io.StringIO(), io.StringIO(), {"exit_code": 0}
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        import prefect.cli

        try:
            prefect.cli.cli.main(args=list(command), prog_name="prefect")
        except SystemExit as ended:
            result["exit_code"] = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except Exception as error:
            result["exit_code"], result["exception"] = 1, failure(error)
            if error.__cause__ is not None:
                result["exception"]["cause"] = failure(error.__cause__)
    return {**result, "stdout": out.getvalue(), "stderr": err.getvalue()}


def record_cli(version, case, given, stub):
    if case["feature"] == "options":
        return record_options(given)
    recorded = {}
    import prefect.agent.kubernetes as module

    if given["capture"] == "start":

        class KubernetesAgent:
            def __init__(self, **arguments):
                recorded.update(agent_class=type(self).__name__, arguments=plain(arguments), config=configuration())

            def start(self):
                recorded["started"] = True

        module.KubernetesAgent, patched = KubernetesAgent, "KubernetesAgent replaced by a class that records its arguments"
    else:
        real = module.KubernetesAgent.generate_deployment_yaml

        def generate_deployment_yaml(**arguments):
            recorded["arguments"] = plain(arguments)
            return real(**arguments)

        module.KubernetesAgent.generate_deployment_yaml, patched = staticmethod(generate_deployment_yaml), "generate_deployment_yaml records its arguments, then runs"
    result = call(given["command"])
    return {"function": "prefect.cli.cli", "patched": patched}, {"expected": {**recorded, **result}}


def record_options(given):
    import click
    import prefect.cli

    command = prefect.cli.cli
    for name in given["command"]:
        command = command.get_command(click.Context(command), name)
    params = []
    for p in command.params:
        shown = {"kind": p.param_type_name, "name": p.name, "opts": list(p.opts), "secondary_opts": list(p.secondary_opts), "type": p.type.name, "required": p.required, "nargs": p.nargs, "default": plain(p.default), "envvar": p.envvar}
        if p.param_type_name == "option":
            shown.update(is_flag=p.is_flag, multiple=p.multiple, count=p.count, help=p.help, hidden=p.hidden)
        params.append(shown)
    expected = {"name": command.name, "help": inspect.cleandoc(command.help or ""), "hidden": command.hidden, "context_settings": plain(command.context_settings), "params": params}
    return {"function": "click command object of `prefect " + " ".join(given["command"]) + "`", "click": click.__version__}, {"expected": expected}


def record_install(version, case, given, stub):
    import prefect
    import yaml
    from prefect.agent.kubernetes import KubernetesAgent

    if "prefect_version" in given:
        prefect.__version__ = given["prefect_version"]
    arguments = dict(given["arguments"])
    if isinstance(arguments.get("env_vars"), list):
        arguments["env_vars"] = dict(arguments["env_vars"])
    try:
        text = KubernetesAgent.generate_deployment_yaml(**arguments)
        expected = {"yaml": text, "documents": list(yaml.safe_load_all(text))}
    except Exception as error:
        expected = {"error": failure(error)}
    return {"function": "prefect.agent.kubernetes.KubernetesAgent.generate_deployment_yaml"}, {"expected": expected}


def record_job(version, case, given, stub):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        expected, patched = job(given)
    result = {"expected": expected, "log": [line for line in out.getvalue().splitlines() if line.startswith("[")]}
    return {"function": "prefect.agent.kubernetes.KubernetesAgent.deploy_flow", "patched": patched}, result


def job(given):
    import prefect
    from prefect.agent.kubernetes import KubernetesAgent
    from prefect.utilities.collections import as_nested_dict
    from prefect.utilities.graphql import GraphQLResult

    patched = "uuid.uuid4 returns 4f0c1a9e-...; create_namespaced_job records its arguments"
    for name in ("_get_auth_tenant", "_get_default_server_tenant"):
        if hasattr(prefect.Client, name):
            setattr(prefect.Client, name, lambda self: TENANT)
            patched += "; Client.%s returns %s" % (name, TENANT)
    number_identifiers()
    arguments = dict(given["agent"])
    if "env_vars" in arguments:
        arguments["env_vars"] = dict(arguments["env_vars"])
    flow_run, expected = given["flow_run"], {}
    try:
        agent = KubernetesAgent(**arguments)
    except Exception as error:
        return {"constructor_error": failure(error)}, patched
    shown = {"name": agent.name, "labels": plain(agent.labels), "env_vars": [[k, plain(v)] for k, v in agent.env_vars.items()], "log_to_cloud": agent.log_to_cloud}
    for name in ("namespace", "service_account_name", "image_pull_secrets", "delete_finished_jobs"):
        if hasattr(agent, name):
            shown[name] = plain(getattr(agent, name))
    expected["agent"] = shown
    created = []
    agent.batch_client.create_namespaced_job = lambda **kwargs: created.append(kwargs) or as_nested_dict({"metadata": {"name": kwargs["body"]["metadata"]["name"]}}, GraphQLResult)
    try:
        answer = agent.deploy_flow(as_nested_dict(flow_run, GraphQLResult))
    except Exception as error:
        return {**expected, "deploy_error": failure(error)}, patched
    body = json.loads(json.dumps(created[0]["body"]))
    return {**expected, "job": body, "deploy": {"namespace": created[0]["namespace"], "body_equals_job": True, "result": answer}}, patched


def record_http(version, case, given, stub):
    import kubernetes
    import pendulum

    now = pendulum.parse(given["now"])
    pendulum.set_test_now(now)
    sleep = time.sleep

    def skipped(seconds):
        if seconds < 0.2:
            return sleep(seconds)
        with stub.lock:
            stub.exchanges.append({"sleep_seconds": seconds})

    number_identifiers()
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        import prefect.agent.agent as module

    hold_back(module)
    time.sleep = skipped
    result = call(given["command"])
    exit = {"code": result["exit_code"]}
    if "exception" in result:
        exit["exception"] = result["exception"]
    after = {kind: sorted(o["metadata"]["name"] for o in stub.cluster[kind]) for kind in ("jobs", "pods")}
    patched = "clock frozen at input.now; uuid.uuid4 returns 4f0c1a9e-..., 500d1b9f-..., ...; time.sleep of 0.2 s and more recorded and skipped; the first heartbeat ends before the first poll; thread pool of one"
    source = {"function": "prefect.cli.cli -> prefect.agent.Agent.start", "kubernetes_client": kubernetes.__version__, "patched": patched}
    return source, {"expected": {"exit": exit, "exchanges": stub.exchanges, "cluster_after": after}, "log": result["stdout"].splitlines(), "stderr": result["stderr"].splitlines()}


def hold_back(module):
    """Leaves out the pauses of the poll loop, and all heartbeats but the first."""

    def heartbeat(agent):
        try:
            agent.heartbeat()
        except Exception:
            agent.logger.error("Error in agent heartbeat", exc_info=True)

    for name in ("run_heartbeat_thread", "_start_heartbeat_thread"):
        if hasattr(module.Agent, name):
            setattr(module.Agent, name, heartbeat)
    module.AGENT_WAKE_EVENT.wait = lambda timeout=None: True
    pool = module.ThreadPoolExecutor
    module.ThreadPoolExecutor = lambda max_workers=None: pool(max_workers=1)


RECORDERS = {"cli": record_cli, "install": record_install, "job": record_job, "http": record_http}
