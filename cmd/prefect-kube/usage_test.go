package main

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/prefect-kube/prefect-kube/internal/app"
	"github.com/prefect-kube/prefect-kube/internal/config"
)

// enter runs one command line, as far as the parts behind it would be reached.
func enter(t *testing.T, line string, env ...string) (code int, said string, got config.Agent) {
	t.Helper()
	var out bytes.Buffer
	c := commands{
		checks: checks{agent: app.Usable, manager: app.UsableManager, install: app.UsableInstall}, install: app.Install, render: app.Render,
		start: func(ctx context.Context, cfg config.Agent, _ *slog.Logger) error {
			got = cfg
			return app.Usable(ctx, cfg)
		},
	}
	code = run(t.Context(), append([]string{"prefect-kube"}, strings.Fields(line)...), env, streams{in: strings.NewReader(""), out: &out, err: &out}, c)
	return code, out.String(), got
}

func TestEveryCommandHasAnExample(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	root := (&cli{}).root("prefect-kube")
	addExamples(root)
	walk(root, func(cmd *cobra.Command) {
		_, path, _ := strings.Cut(cmd.CommandPath(), " ")
		used[path] = true
		if cmd.Example == "" {
			t.Errorf("%q has no example", path)
		}
		for line := range strings.SplitSeq(cmd.Example, "\n") {
			words := strings.Fields(strings.NewReplacer("|", " | ", ">", " > ").Replace(line))
			found, rest, err := cmd.Root().Find(words[1:])
			if err != nil || found != cmd && cmd.HasParent() && cmd.Parent().HasParent() && !cmd.HasSubCommands() {
				t.Errorf("%q: the example %q leads to %q, %v", path, line, found.CommandPath(), err)
			}
			for _, word := range rest {
				name, long := strings.CutPrefix(word, "--")
				if long && found.Flags().Lookup(name) == nil {
					t.Errorf("%q: the example %q has an option that is none", path, line)
				}
			}
		}
	})
	for path := range examples() {
		if !used[path] {
			t.Errorf("there is no command %q", path)
		}
	}
}

// What stands in the wrong place may be a credential: no error shows it.
func TestUsageErrorsShowNoValue(t *testing.T) {
	t.Parallel()
	const start, install = "agent kubernetes start ", "agent kubernetes install "
	for _, line := range []string{
		"CANARY", "agent CANARY", "agent start CANARY", "agent start kubernetes CANARY", start + "CANARY", "agent install CANARY", "agent kubernetes CANARY", install + "CANARY",
		"doctor CANARY", "dev CANARY", "version CANARY", "resource-manager CANARY", "render CANARY", "render run CANARY", "render -k CANARY x",
		start + "--CANARY", start + "--CANARY=x", start + "-CANARY", start + "---CANARY", start + "--=CANARY", start + "--no-cloud-logs=CANARY",
		start + "--max-polls CANARY", start + "--grace CANARY", start + "--log-level CANARY", start + "--api CANARY", start + "--tenant-id CANARY", start + "--keep CANARY",
		start + "--agent-address CANARY", start + "--namespace CANARY_", start + "--service-account-name CANARY_", start + "--default-job-image CANARY@", start + "--credential-secret CANARY",
		start + "--exclusive-labels=CANARY", start + "--env CANARY", start + "--env C!\u00e9NARYCANARY=x", start + "--job-template CANARY",
		install + "--backend CANARY", install + "--image-pull-policy CANARY", install + "--cpu-limit CANARY", install + "--reference CANARY", install + "--api u:CANARY@host:4200/graphql",
		start + "--api u:CANARY@host:4200", start + "--api http://u:CANARY%zz@host", start + "--api http://host:CANARY",
	} {
		code, said, _ := enter(t, line, "PREFECT__BACKEND=server")
		if code != exitUsage || strings.Contains(said, "CANARY") || !strings.HasPrefix(said, "Error: ") {
			t.Errorf("%s: exit code %d: %s", line, code, said)
		}
	}
	for _, variable := range []string{
		"PREFECT__CLOUD__API_KEY_FILE", "PREFECT__CLOUD__TENANT_ID", "PREFECT__BACKEND", "PREFECT__CLOUD__API", "PREFECT__CLOUD__AGENT__LEVEL",
		"PREFECT__CLOUD__REQUEST_TIMEOUT", "DELETE_FINISHED_JOBS", "PREFECT_KUBE_GRACE", "PREFECT_KUBE_CREDENTIAL_SECRET", "PREFECT__CLOUD__AGENT__AGENT_ADDRESS", "HTTPS_PROXY",
	} {
		value := "CANARY"
		if variable == "HTTPS_PROXY" {
			value = "http://u:CANARY@host:1:2"
		}
		if code, said, _ := enter(t, "agent kubernetes start", "PREFECT__CLOUD__API_KEY=K", variable+"="+value); variable != "PREFECT__CLOUD__API_KEY_FILE" && code != exitUsage || strings.Contains(said, "CANARY") {
			t.Errorf("%s: exit code %d: %s", variable, code, said)
		}
		if code, said, _ := enter(t, "agent kubernetes start", variable+"="+value); code != exitUsage || strings.Contains(said, "CANARY") {
			t.Errorf("%s: exit code %d: %s", variable, code, said)
		}
	}
}

// All options of the releases between work in the form that had them, or are named as
// without effect; what a form has not got names the form and the releases that have it.
func TestOptionsOfAllReleases(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"agent kubernetes start -t T --label prod":                                  "",
		"agent kubernetes start --token T --log-level debug":                        "",
		"agent kubernetes start --agent-config-id x --job-template= --api http://x": "",
		"agent start kubernetes --hostname-label":                                   "",
		"agent start kubernetes --no-hostname-label --no-storage-labels":            "",
		"agent start kubernetes --storage-labels --docker-client-timeout 60":        "",
		"agent start kubernetes --network a --network b --agent-config-id x":        "",
		"agent kubernetes install -t T --rbac --namespace prefect":                  "",
		"agent kubernetes install --resource-manager":                               "",
		"agent install kubernetes --resource-manager --image-pull-policy always":    "",
		"agent kubernetes start --verbose":                                          `"agent start kubernetes" has it, as Prefect 0.11 to 0.14 has; type --log-level DEBUG`,
		"agent kubernetes start -v":                                                 `"agent start kubernetes" has it, as Prefect 0.11 to 0.14 has; type --log-level DEBUG`,
		"agent start kubernetes --key K":                                            `"agent kubernetes start" has it, as Prefect 0.15 and later has; type --token`,
		"agent start kubernetes --log-level INFO":                                   `"agent kubernetes start" has it, as Prefect 0.13 and later has; type --verbose`,
		"agent kubernetes start --no-pull":                                          `as Prefect 0.11 to 0.14 has; leave it out`,
		"agent kubernetes start --docker-client-timeout 60":                         `as Prefect 0.14 has; leave it out`,
		"agent kubernetes start --resource-manager":                                 `as Prefect 0.11 to 0.13 has`,
		"agent kubernetes start --rbac":                                             `install`,
		"agent kubernetes start --cluster x":                                        `agent ecs start`,
		"agent docker start":                                                        "type agent kubernetes start",
		"agent start local":                                                         "type agent kubernetes start",
		"backend server":                                                            "PREFECT__BACKEND",
		"execute flow-run":                                                          "in the image of the flow",
	} {
		code, said, _ := enter(t, line, "PREFECT__BACKEND=server")
		if wantCode := map[bool]int{true: exitClean, false: exitUsage}[want == ""]; code != wantCode || !strings.Contains(said, want) {
			t.Errorf("%s: exit code %d, want %d: %s, want %q in it", line, code, wantCode, said, want)
		}
	}
}

// A credential is found in every variable that releases of Prefect read.
func TestCredentialOfEveryRelease(t *testing.T) {
	t.Parallel()
	for _, variable := range []string{"PREFECT__CLOUD__AGENT__AUTH_TOKEN", "PREFECT__CLOUD__AUTH_TOKEN", "PREFECT__CLOUD__API_KEY"} {
		for _, line := range []string{"agent kubernetes start", "agent start kubernetes"} {
			code, said, got := enter(t, line, variable+"=hunter2")
			text, err := got.Credential.Reveal()
			if code != exitClean || text != "hunter2" || err != nil {
				t.Errorf("%s: %s: exit code %d, credential %v: %s", variable, line, code, got.Credential, said)
			}
			if token := variable != "PREFECT__CLOUD__API_KEY" && line == "agent kubernetes start"; got.Token != token {
				t.Errorf("%s: %s: is a token: %v", variable, line, got.Token)
			}
		}
	}
}

// All faults of a configuration are told at once, whoever finds them.
func TestAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	for line, places := range map[string][]string{
		"agent kubernetes start --max-polls x --keep nothing --namespace A_B --agent-address x --env A": {"--max-polls", "--keep", "--namespace", "--agent-address", "--env", "--key", "PREFECT_KUBE_GRACE", "HTTP_PROXY"},
		"agent start kubernetes --grace 0 --api x --job-template /no/such":                              {"--grace", "api", "--job-template", "HTTP_PROXY", "IMAGE_PULL_POLICY"},
		"agent kubernetes install --backend x --cpu-limit x --env A --keep x -n A_B":                    {"--backend", "--cpu-limit", "--env", "--keep", "--namespace"},
		"resource-manager --grace 0s --namespace A_B":                                                   {"--grace", "--namespace", "--token", "HTTP_PROXY"},
		"doctor --max-polls -2 --namespace A_B --output x":                                              {"--max-polls", "--namespace", "--output", "PREFECT_KUBE_GRACE"},
		"render x --max-polls -2 --namespace A_B --output x":                                            {"--max-polls", "--namespace", "--output", "PREFECT_KUBE_GRACE"},
		"dev --listen x --generation x --log-level x":                                                   {"--listen", "--generation", "--log-level"},
	} {
		env := []string{"PREFECT_KUBE_GRACE=soon", "HTTP_PROXY=a:b:c", "IMAGE_PULL_POLICY=often"}
		if strings.HasPrefix(line, "dev") {
			env = nil
		}
		code, said, _ := enter(t, line, env...)
		for _, place := range places {
			if code != exitUsage || strings.Count(said, "Error: "+place) != 1 {
				t.Errorf("%s: exit code %d, want %s once:\n%s", line, code, place, said)
			}
		}
		for fault := range strings.SplitSeq(strings.TrimSpace(said), "\n") {
			if !strings.Contains(fault, "; ") {
				t.Errorf("%s: no mend: %s", line, fault)
			}
		}
	}
}
