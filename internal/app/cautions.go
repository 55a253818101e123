package app

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/jobspec"
)

// startCautions say what of a usable configuration will surprise in Jobs: what is known
// before the first flow run.
func startCautions(cfg config.Agent) []string {
	found := cautions(cfg)
	if jobspec.Loopback(cfg.API) && cfg.APISecret == "" {
		found = append(found, "the address of the Prefect API that Jobs get is this machine alone ("+shown(cfg.API)+"): in a Pod it is the Pod itself; set --api or PREFECT__CLOUD__API to one that Pods reach")
	}
	return found
}

// cautions are those that doctor cannot see in the Job that it looks at.
func cautions(cfg config.Agent) []string {
	var found []string
	if cfg.BasicUser.IsSet() && cfg.APISecret == "" {
		found = append(found, "Jobs get the address of the Prefect API without its user name and password, which would be readable there; put the whole address into a Secret and name that with --api-secret NAME/KEY")
	}
	return append(found, lost(cfg.EnvVars)...)
}

// lost names the variables of --env that the agent sets itself, whatever --env says,
// in the Jobs of flows with a run config of the last release.
func lost(vars []config.Pair) []string {
	fixed := map[string]bool{}
	for _, d := range jobspec.Defaults() {
		// The log level is set only where --env has none.
		if d.Kind == jobspec.ByRunConfig && d.Until == "" && strings.HasPrefix(d.Name, "PREFECT__") && d.Name != "PREFECT__LOGGING__LEVEL" {
			fixed[d.Name] = true
		}
	}
	var found []string
	for _, v := range vars {
		if fixed[v.Name] {
			found = append(found, fmt.Sprintf("--env, PREFECT__CLOUD__AGENT__ENV_VARS: %s has no effect on flows with a run config, since the agent sets it itself; %s", v.Name, instead(v.Name)))
		}
	}
	slices.Sort(found)
	return found
}

func instead(name string) string {
	return cmp.Or(map[string]string{ //nolint:gosec // names of variables
		"PREFECT__CLOUD__API": "use --api", "PREFECT__CLOUD__API_KEY": "use --key", "PREFECT__CLOUD__AUTH_TOKEN": "use --token or --key",
		"PREFECT__CLOUD__TENANT_ID": "use --tenant-id", "PREFECT__CLOUD__AGENT__LABELS": "use --label", "PREFECT__BACKEND": "set it for the agent",
		"PREFECT__LOGGING__LOG_TO_CLOUD": "use --no-cloud-logs",
	}[name], "leave it out")
}
