"""What is given to each release. Nothing here says what must come out."""

OLD, NEW = ["agent", "start", "kubernetes"], ["agent", "kubernetes", "start"]
FLOW_RUN, FLOW = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
AGENT, CONFIG, TENANT = "55555555-5555-4555-8555-555555555555", "77777777-7777-4777-8777-777777777777", "99999999-9999-4999-8999-999999999999"


def number(version):
    return tuple(int(part) for part in version.split("."))


def since(version, first):
    return number(version) >= number(first)


def forms(version):
    """The forms of the command line, by the prefix of the names of their cases."""
    return {"": NEW} if since(version, "0.15.0") else {"old-": OLD, "": NEW} if since(version, "0.13.0") else {"old-": OLD}


# Options of start, each as it may be written. A release that lacks one says so in its case.
START = {
    "no-options": [],
    "token": ["--token", "TKN"],
    "token-short": ["-t", "TKN"],
    "api": ["--api", "http://apollo:4200"],
    "api-short": ["-a", "http://apollo:4200/"],
    "key-and-tenant": ["--key", "KEY", "--tenant-id", TENANT],
    "key-short": ["-k", "KEY"],
    "agent-config-id": ["--agent-config-id", CONFIG],
    "name-and-labels": ["-n", "me", "-l", "b", "--label", "a", "-l", "b"],
    "env": ["-e", "A=1", "--env", "B=two words"],
    "env-two-equal-signs": ["-e", "A=b=c"],
    "env-three-equal-signs": ["-e", "A=b=c=d"],
    "polls-and-address": ["--max-polls", "3", "--agent-address", "http://:8080"],
    "namespace": ["--namespace", "dev"],
    "verbose": ["-v"],
    "log-level": ["--log-level", "debug"],
    "log-level-unknown": ["--log-level", "LOUD"],
    "job-template": ["--job-template", "/templates/job.yaml"],
    "account-and-pull-secrets": ["--service-account-name", "runner", "--image-pull-secrets", "a, b"],
    "no-cloud-logs": ["--no-cloud-logs"],
    "disable-job-deletion": ["--disable-job-deletion"],
    "options-of-other-agents": ["-p", "/x", "-f", "--no-pull", "-b", "tcp://docker:2375", "--volume", "/v", "--network", "n", "--no-docker-interface"],
    "options-of-the-local-agent": ["--no-storage-labels", "--no-hostname-label"],
    "docker-client-timeout": ["--docker-client-timeout", "5"],
    "unknown-option": ["--no-such-option=1"],
}

# Options of install.
INSTALL = {
    "no-options": [],
    "token": ["--token", "TKN"],
    "token-short": ["-t", "TKN"],
    "key-and-tenant": ["-k", "KEY", "--tenant-id", TENANT],
    "api-and-namespace": ["-a", "http://apollo:4200", "-n", "dev"],
    "pull-secrets": ["-i", "regcred"],
    "resource-manager": ["--resource-manager"],
    "rbac-and-latest": ["--rbac", "--latest"],
    "resources": ["--mem-request", "1Gi", "--mem-limit", "2Gi", "--cpu-request", "500m", "--cpu-limit", "1"],
    "policy-and-account": ["--image-pull-policy", "Always", "--service-account-name", "runner"],
    "labels-and-env": ["-l", "b", "-l", "a", "-e", "A=1", "-e", "B=x"],
    "env-two-equal-signs": ["-e", "A=b=c"],
    "backend": ["-b", "cloud"],
    "agent-config-id": ["--agent-config-id", CONFIG],
    "options-of-the-local-agent": ["-p", "/x", "-f"],
}

# What variables and files do to a start without options.
CONFIGURED = {
    "variables": {"environment": {
        "PREFECT__CLOUD__API": "http://apollo:4200", "PREFECT__CLOUD__AGENT__AUTH_TOKEN": "TKN", "PREFECT__CLOUD__AGENT__NAME": "me",
        "PREFECT__CLOUD__AGENT__LEVEL": "DEBUG", "PREFECT__CLOUD__AGENT__AGENT_ADDRESS": "http://:8080", "NAMESPACE": "dev",
    }},
    "labels-variable": {"environment": {"PREFECT__CLOUD__AGENT__LABELS": "['a', 'b']"}},
    "cloud-with-key": {"environment": {"PREFECT__BACKEND": "cloud", "PREFECT__CLOUD__API_KEY": "KEY", "PREFECT__CLOUD__TENANT_ID": TENANT}},
    "logs-variable": {"environment": {"PREFECT__CLOUD__SEND_FLOW_RUN_LOGS": "false"}},
    "files": {"home_files": {
        ".prefect/config.toml": '[cloud.agent]\nname = "from-file"\nlevel = "WARNING"\n', ".prefect/backend.toml": 'backend = "server"\n',
    }, "environment": {"PREFECT__BACKEND": None}},
}


def cli(version):
    for prefix, form in forms(version).items():
        install = [word if word != "start" else "install" for word in form]
        for name, words in (("start", form), ("install", install)):
            yield {"name": prefix + "options-" + name, "feature": "options", "input": {"command": words[:2] if form == OLD else words}}
        for name, options in START.items():
            yield command(prefix + "start-" + name, "start", form + options)
        for name, more in CONFIGURED.items():
            yield command(prefix + "start-" + name, "start", form, **more)
        for name, options in INSTALL.items():
            yield command(prefix + "install-" + name, "install", install + options)
    if NEW not in forms(version).values():
        yield command("start-new-form", "start", NEW)
        yield command("install-new-form", "install", NEW[:2] + ["install"])
    if OLD not in forms(version).values():
        yield command("start-old-form", "start", OLD)
        yield command("install-old-form", "install", ["agent", "install", "kubernetes"])


def command(name, capture, words, environment=(), **more):
    variables = {"PREFECT__BACKEND": "server", **dict(environment)}
    variables = {k: v for k, v in variables.items() if v is not None}
    return {"name": name, "feature": capture, "input": {"command": words, "capture": capture, "environment": variables, **more}}


def install(version):
    credential = "key" if since(version, "1.0.0") else "token"
    everything = {
        credential: "SECRET", "api": "http://apollo:4200", "namespace": "dev", "image_pull_secrets": "regcred", "rbac": True, "mem_request": "1Gi",
        "mem_limit": "2Gi", "cpu_request": "500m", "cpu_limit": "1", "labels": ["a", "b"], "env_vars": [["A", "1"], ["B", "x=y"]], "backend": "server",
    }
    if since(version, "0.12.6"):
        everything.update(image_pull_policy="IfNotPresent", service_account_name="runner")
    if since(version, "0.15.13"):
        everything.pop("token", None)
        everything.update(key="SECRET", tenant_id=TENANT, agent_config_id=CONFIG)
    if not since(version, "0.14.0"):
        everything["resource_manager_enabled"] = True
    arguments = {
        "no-arguments": {},
        "everything": everything,
        "rbac": {"rbac": True},
        "credential": {credential: "SECRET"},
        "key": {"key": "KEY", "tenant_id": TENANT},
        "agent-config-id": {"agent_config_id": CONFIG},
        "policy-and-account": {"image_pull_policy": "Always", "service_account_name": "runner"},
        "pull-secrets": {"image_pull_secrets": "regcred"},
        "resources": {"mem_request": "1Gi", "mem_limit": "2Gi", "cpu_request": "500m", "cpu_limit": "1"},
        "labels-and-env": {"labels": ["b", "a"], "env_vars": [["A", "1"], ["lower", "true"]]},
        "resource-manager": {"resource_manager_enabled": True},
        "resource-manager-with-rbac": {"resource_manager_enabled": True, "rbac": True, "namespace": "dev", credential: "SECRET"},
        "latest": {"latest": True},
        "backend": {"backend": "server"},
    }
    for name, given in arguments.items():
        yield {"name": name, "feature": "arguments", "input": {"arguments": given, "environment": {"PREFECT__BACKEND": "cloud"}}}
    yield {"name": "development-version", "feature": "arguments", "input": {"arguments": {}, "environment": {"PREFECT__BACKEND": "cloud"}, "prefect_version": version + "+12.gabcdef0"}}


def docker(version):
    return {"type": "Docker", "registry_url": "reg.io/team", "image_name": "etl", "image_tag": "v1", "flows": {"ETL": "/opt/prefect/flows/etl.prefect"}, "prefect_version": version, "secrets": [], "__version__": version}


def local(version):
    return {"type": "Local", "directory": "/home/user/.prefect/flows", "flows": {"ETL": "/home/user/.prefect/flows/etl"}, "secrets": [], "__version__": version}


def environment(version, image=None):
    made = {"type": "LocalEnvironment", "labels": [], "__version__": version}
    if image:
        made["metadata"] = {"image": image}
    return made


def kubernetes_run(version, **more):
    return {"type": "KubernetesRun", "env": None, "labels": [], "__version__": version, **more}


def flow_run(version, storage, environment=None, run_config=None, core_version=None):
    """A flow run as the query of the release returns it, and the flow's version."""
    made = {
        "id": FLOW_RUN, "version": 1, "state": "Scheduled", "parameters": {},
        "serialized_state": {"type": "Scheduled", "message": "Flow run scheduled.", "start_time": "2022-11-30T11:59:00+00:00", "context": {}, "cached_inputs": {}, "_result": {"type": "NoResultType", "__version__": version}, "__version__": version},
        "flow": {"id": FLOW, "name": "ETL", "version": 3, "environment": environment, "storage": storage, "core_version": core_version or version},
        "task_runs": [],
    }
    if since(version, "0.13.0"):
        made["scheduled_start_time"] = "2022-11-30T11:59:00+00:00"
        (made if since(version, "0.14.0") else made["flow"])["run_config"] = run_config
    if since(version, "0.14.0"):
        made["name"] = "brave-fox"
    return made


TEMPLATE = """apiVersion: batch/v1
kind: Job
metadata:
  name: nightly
  labels: {team: data}
spec:
  ttlSecondsAfterFinished: 60
  template:
    metadata:
      annotations: {a: b}
    spec:
      serviceAccountName: from-template
      containers:
        - name: flow
          image: from/template:1
          env:
            - {name: KEPT, value: "1"}
"""

VARIABLES = {
    "NAMESPACE": "dev", "JOB_MEM_REQUEST": "1Gi", "JOB_MEM_LIMIT": "2Gi", "JOB_CPU_REQUEST": "500m", "JOB_CPU_LIMIT": "1",
    "IMAGE_PULL_POLICY": "Never", "SERVICE_ACCOUNT_NAME": "runner", "IMAGE_PULL_SECRETS": "a, b",
}


# The variables of job_spec.yaml in their order: the code overwrites their values by their places.
def variables(version):
    names = "CLOUD__API CLOUD__AUTH_TOKEN CONTEXT__FLOW_RUN_ID CONTEXT__FLOW_ID CONTEXT__NAMESPACE CLOUD__AGENT__LABELS".split()
    names += ["CLOUD__SEND_FLOW_RUN_LOGS"] if since(version, "0.14.20") else []
    names += "LOGGING__LOG_TO_CLOUD LOGGING__LEVEL CLOUD__USE_LOCAL_SECRETS ENGINE__FLOW_RUNNER__DEFAULT_CLASS ENGINE__TASK_RUNNER__DEFAULT_CLASS".split()
    return ["PREFECT__" + name for name in names]


# A job_spec.yaml of somebody's own.
def job_spec(names):
    env = "".join("            - {name: %s, value: x}\n" % name for name in names)
    return """apiVersion: batch/v1
kind: Job
metadata:
  name: own
  labels: {team: data}
spec:
  template:
    metadata:
      labels: {}
    spec:
      containers:
        - name: flow
          image: x
          imagePullPolicy: Never
          command: ["/bin/sh", "-c"]
          args: ["x"]
          env:
%s          resources: {requests: {cpu: 50m}, limits: {}}
          volumeMounts: [{name: "v", mountPath: /v}]
      restartPolicy: Never
      imagePullSecrets: [{name: from-file}]
      volumes: [{name: "v", emptyDir: {}}]
      nodeSelector: {disk: ssd}
""" % env


def job(version):
    with_environment = flow_run(version, docker(version), environment(version))
    server = {"PREFECT__BACKEND": "server"}
    cloud = {"PREFECT__BACKEND": "cloud", "PREFECT__CLOUD__AGENT__AUTH_TOKEN": "TKN"}

    def case(name, run, agent=(), environment=(), **more):
        return {"name": name, "feature": name.split("-")[0], "input": {"agent": dict(agent), "environment": {**server, **dict(environment)}, "files": {}, "home_files": {}, "flow_run": run, **more}}

    yield case("environment-docker-storage", with_environment)
    yield case("environment-metadata-image", flow_run(version, local(version), environment(version, "team/etl:2")))
    yield case("environment-metadata-image-beside-docker", flow_run(version, docker(version), environment(version, "team/etl:2")))
    yield case("environment-local-storage", flow_run(version, local(version), environment(version)))
    yield case("environment-job-variables", with_environment, environment=VARIABLES)
    yield case("environment-pull-secrets-empty", with_environment, environment={"IMAGE_PULL_SECRETS": ""})
    if since(version, "0.12.0"):  # 0.11.0 registers in the constructor
        yield case("environment-cloud-token", with_environment, environment=cloud)
    yield case("environment-agent-env-and-labels", with_environment, agent={"env_vars": [["A", "1"], ["PREFECT__LOGGING__LEVEL", "WARNING"]], "labels": ["a", "it's"], "namespace": "other"})
    yield case("environment-log-level", with_environment, environment={"PREFECT__LOGGING__LEVEL": "ERROR"})
    yield case("environment-no-cloud-logs", with_environment, agent={"no_cloud_logs": True})
    yield case("environment-yaml-template", with_environment, environment={"YAML_TEMPLATE": "{{DIR}}/spec.yaml"}, files={"spec.yaml": job_spec(variables(version))})
    yield case("environment-yaml-template-other-variables", with_environment, environment={"YAML_TEMPLATE": "{{DIR}}/spec.yaml"}, files={"spec.yaml": job_spec(["OWN"] + variables(version))})
    yield case("environment-yaml-template-with-variables", with_environment, environment={"YAML_TEMPLATE": "{{DIR}}/spec.yaml", **VARIABLES}, files={"spec.yaml": job_spec(variables(version))})
    yield case("environment-yaml-template-missing", with_environment, environment={"YAML_TEMPLATE": "{{DIR}}/none.yaml"})
    yield case("storage-github", flow_run(version, {"type": "GitHub", "repo": "o/r", "path": "f.py", "flows": {}, "secrets": [], "__version__": version}, environment(version, "team/etl:2")))
    yield case("storage-git", flow_run(version, {"type": "Git", "repo": "o/r", "flow_path": "f.py", "flows": {}, "secrets": [], "__version__": version}, environment(version, "team/etl:2")))
    if not since(version, "0.13.0"):
        return
    yield case("environment-older-flow", flow_run(version, docker(version), environment(version), core_version="0.12.3"))
    run = kubernetes_run(version)
    full = kubernetes_run(version, env={"A": "run", "N": "1"}, image="team/etl:2", cpu_limit="2", cpu_request="1", memory_limit="2Gi", memory_request="1Gi", service_account_name="own", image_pull_secrets=["p"], labels=["gpu"])
    if since(version, "0.14.0"):
        full["image_pull_policy"] = "Always"
    yield case("run-config-none", flow_run(version, docker(version)))
    yield case("run-config-none-local-storage", flow_run(version, local(version)))
    yield case("run-config-minimal", flow_run(version, local(version), run_config=run))
    yield case("run-config-full", flow_run(version, local(version), run_config=full), agent={"env_vars": [["A", "agent"], ["Z", "agent"]], "service_account_name": "agents", "image_pull_secrets": ["q"]})
    yield case("run-config-universal", flow_run(version, local(version), run_config={"type": "UniversalRun", "labels": ["gpu"], "__version__": version, **({"env": {"A": "1"}} if since(version, "0.14.0") else {})}))
    yield case("run-config-local", flow_run(version, local(version), run_config={"type": "LocalRun", "env": None, "labels": [], "working_dir": None, "__version__": version}))
    yield case("run-config-job-variables", flow_run(version, docker(version), run_config=run), environment=VARIABLES)
    yield case("run-config-pull-secrets-empty", flow_run(version, docker(version), run_config=run), environment={"IMAGE_PULL_SECRETS": ""})
    yield case("run-config-no-pull-secrets", flow_run(version, docker(version), run_config=kubernetes_run(version, image_pull_secrets=[])), agent={"image_pull_secrets": ["q"]})
    yield case("run-config-cloud-token", flow_run(version, docker(version), run_config=run), environment=cloud)
    yield case("run-config-cloud-key", flow_run(version, docker(version), run_config=run), environment={"PREFECT__BACKEND": "cloud", "PREFECT__CLOUD__API_KEY": "KEY", "PREFECT__CLOUD__TENANT_ID": TENANT})
    yield case("run-config-log-level-and-logs", flow_run(version, docker(version), run_config=kubernetes_run(version, env={"PREFECT__CLOUD__SEND_FLOW_RUN_LOGS": "false"})), environment={"PREFECT__LOGGING__LEVEL": "ERROR"})
    yield case("run-config-no-cloud-logs", flow_run(version, docker(version), run_config=run), agent={"no_cloud_logs": True})
    yield case("run-config-older-flow", flow_run(version, docker(version), run_config=run, core_version="0.12.3"))
    yield case("template-of-the-agent", flow_run(version, local(version), run_config=run), agent={"job_template_path": "{{DIR}}/job.yaml"}, files={"job.yaml": TEMPLATE})
    yield case("template-of-the-run", flow_run(version, local(version), run_config=kubernetes_run(version, job_template_path="{{DIR}}/job.yaml")), agent={"service_account_name": "agents", "image_pull_secrets": ["q"]}, files={"job.yaml": TEMPLATE})
    yield case("template-beside-environment", with_environment, agent={"job_template_path": "{{DIR}}/job.yaml"}, files={"job.yaml": TEMPLATE})


def http(version):
    if version in ("0.11.0", "1.4.1"):
        return  # their wire is in ../http
    form = NEW if NEW in forms(version).values() else OLD
    server = {"PREFECT__BACKEND": "server", "PREFECT__CLOUD__API": "{{API}}"}
    credential = {"PREFECT__CLOUD__API_KEY": "KEY"} if since(version, "0.15.0") else {"PREFECT__CLOUD__AGENT__AUTH_TOKEN": "RUNNERTOKEN"}
    cloud = {"PREFECT__BACKEND": "cloud", "PREFECT__CLOUD__API": "{{API}}"}
    yield whole("startup-server", version, form, server)
    yield whole("startup-cloud", version, form, {**cloud, **credential})
    yield whole("startup-cloud-token", version, form, {**cloud, "PREFECT__CLOUD__AGENT__AUTH_TOKEN": "RUNNERTOKEN"})
    yield whole("startup-cloud-wrong-scope", version, form, {**cloud, "PREFECT__CLOUD__AGENT__AUTH_TOKEN": "USERTOKEN"}, scope="USER")
    yield whole("startup-cloud-nothing", version, form, cloud)
    yield whole("startup-labels-and-name", version, form + ["-l", "b", "-l", "a", "-n", "me"], server)
    if since(version, "0.13.0"):
        yield whole("startup-agent-config-id", version, form + ["--agent-config-id", CONFIG], server)
    yield whole("startup-hello-refused", version, form, server, hello=[{"status": 400, "json": {"errors": [{"message": "no"}]}}])
    if NEW == form and OLD in forms(version).values():
        yield whole("startup-old-form", version, OLD, server)
    yield whole("deploy-environment", version, form, server, runs=[flow_run(version, docker(version), environment(version))])
    yield whole("deploy-environment-cloud", version, form, {**cloud, **credential}, runs=[flow_run(version, docker(version), environment(version))])
    if since(version, "0.13.0"):
        yield whole("deploy-run-config", version, form + ["-e", "B=1"], server, runs=[flow_run(version, local(version), run_config=kubernetes_run(version, image="team/etl:2", env={"A": "1"}))])


def whole(name, version, words, environment, runs=(), scope="RUNNER", **answers):
    success = [{"id": FLOW_RUN, "status": "SUCCESS", "message": None}]
    backend = {
        "hello": [{"data": {"hello": "hi"}}],
        "auth_info": [{"data": {"auth_info": {"api_token_scope": scope, "tenant_id": TENANT}}}],
        "tenant": [{"data": {"tenant": [{"id": TENANT, "slug": "t"}]}}],
        "register_agent": [{"data": {"register_agent": {"id": AGENT}}}],
        "agent_config": [{"data": {"agent_config": [{"settings": {"labels": ["x"]}}]}}],
        "get_runs_in_queue": [{"data": {"get_runs_in_queue": {"flow_run_ids": [run["id"] for run in runs]}}}, {"data": {"get_runs_in_queue": {"flow_run_ids": []}}}],
        "set_flow_run_states": [{"data": {"set_flow_run_states": {"states": success}}}],
        "write_run_logs": [{"data": {"write_run_logs": {"success": True}}}],
    }
    if runs:
        backend["flow_run"] = [{"data": {"flow_run": list(runs)}}]
    backend.update(answers)
    return {"name": name, "feature": name.split("-")[0], "input": {
        "mode": "cli", "now": "2022-11-30T12:00:00.123456+00:00", "command": words + ["--max-polls", "1"], "environment": environment, "backend": backend, "cluster": {},
    }}


FOLDERS = {"cli": cli, "install": install, "job": job, "http": http}
