package config_test

import (
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/config"
)

// No release with agent kubernetes start read these variables for flows with a run
// config, and 1.0 for none, so that people have anything in them. Those with agent
// start kubernetes did.
func TestVariablesThatNobodyRead(t *testing.T) {
	t.Parallel()
	for _, entry := range []string{
		"JOB_MEM_REQUEST=lots", "JOB_MEM_LIMIT=-1", "JOB_CPU_REQUEST=1 m", "JOB_CPU_LIMIT=null", "JOB_MEM_LIMIT=512MB", "JOB_CPU_LIMIT=[]",
		"IMAGE_PULL_POLICY=if-not-present", "IMAGE_PULL_POLICY=<nil>",
	} {
		name, _, _ := strings.Cut(entry, "=")
		got, err := config.ResolveAgent(config.Core1, withServer(config.Sources{Env: []string{entry}}))
		if left := got.JobMemRequest + got.JobMemLimit + got.JobCPURequest + got.JobCPULimit + got.ImagePullPolicy; err != nil || left != "" {
			t.Errorf("%s: got %q, %v, want it left out", entry, left, err)
		}
		if len(got.Warnings) != 1 || !strings.HasPrefix(got.Warnings[0], name+": ") || !strings.Contains(got.Warnings[0], "left out") {
			t.Errorf("%s: got warnings %q", entry, got.Warnings)
		}
		if _, err = config.ResolveAgent(config.Core0, withServer(config.Sources{Env: []string{entry}})); err == nil || !strings.HasPrefix(err.Error(), name+": ") {
			t.Errorf("%s: got %v from the older form, want an error", entry, err)
		}
	}
}

// Kubernetes' own spellings are taken, and quotes around a variable are none of it, as
// in Prefect's configuration.py; files of variables leave them.
func TestQuotesAroundVariables(t *testing.T) {
	t.Parallel()
	for _, quote := range []string{`"`, "'"} {
		var env []string
		for _, pair := range [][2]string{
			{"PREFECT__BACKEND", "server"},
			{"PREFECT__CLOUD__API", "http://p:1"},
			{"PREFECT__CLOUD__AGENT__LEVEL", "DEBUG"},
			{"PREFECT__CLOUD__API_KEY", "k"},
			{"PREFECT__CLOUD__SEND_FLOW_RUN_LOGS", "false"},
			{"NAMESPACE", "n"},
			{"IMAGE_PULL_POLICY", "always"},
			{"JOB_CPU_LIMIT", "1.5e-1"},
			{"SERVICE_ACCOUNT_NAME", ""},
			{"PREFECT_KUBE_GRACE", "3m"},
			{"PREFECT__CLOUD__AGENT__ENV_VARS__X", "kept"},
		} {
			env = append(env, pair[0]+"="+quote+pair[1]+quote)
		}
		got, err := config.ResolveAgent(config.Core1, config.Sources{Env: env})
		key, errKey := got.Credential.Reveal()
		if err != nil || errKey != nil || len(got.Warnings) > 0 {
			t.Fatalf("got %v, %v, warnings %q", err, errKey, got.Warnings)
		}
		texts := []string{got.Backend, got.API, got.LogLevel, key, got.Namespace, got.ImagePullPolicy, got.JobCPULimit, got.ServiceAccountName, got.Grace.String(), got.EnvVars[0].Value}
		if want := "server http://p:1 DEBUG k n Always 1.5e-1  3m0s " + quote + "kept" + quote; strings.Join(texts, " ") != want || got.SendLogs {
			t.Errorf("got %q, logs %t, want %q", texts, got.SendLogs, want)
		}
	}
}
