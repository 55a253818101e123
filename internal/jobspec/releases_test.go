package jobspec_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/jobspec"
)

// onPurpose is a way in which the Job of a release is another one on purpose. Rows
// hold by what is in a case, never by its name; each must match a case.
type onPurpose struct {
	defect  string
	applies func(t *testing.T, v vector, release string, want outcome) bool
	// paths are left out of the comparison; without them there is a Job in the
	// place of an error.
	paths  []string
	reason string
}

// onPurposeIn gives the rows that hold for a case, and notes that they do.
func onPurposeIn(t *testing.T, v vector, release string, want outcome, used map[string]bool) (paths [][]string, noError bool) {
	t.Helper()
	for _, row := range releaseDifferences() {
		if !row.applies(t, v, release, want) {
			continue
		}
		used[row.reason] = true
		noError = noError || row.paths == nil
		for _, path := range row.paths {
			paths = append(paths, strings.Split(path, "/"))
		}
	}
	return paths, noError
}

func releaseDifferences() []onPurpose {
	const env = "spec/template/spec/containers/0/env"
	return []onPurpose{
		{"D-44", otherVariables, []string{env}, "the job spec of YAML_TEMPLATE gets its variables by name; the reference writes values by place, whatever stands there"},
		{"D-32", namelessSecret, []string{"spec/template/spec/imagePullSecrets"}, "image pull secrets without a name are left out"},
		{"D-36", nullValue, []string{env}, "no credential is an empty text; 0.15 writes null"},
		{"D-37", tokenBesideKeys, []string{env}, "a token is passed as key too, so that flows of 1.0.0 and later have it"},
		{"D-28", laterStorage, nil, "a storage of a later release is known"},
	}
}

// otherVariables are those of a job spec whose variables are not Prefect's own, or
// stand elsewhere.
func otherVariables(t *testing.T, v vector, release string, want outcome) bool {
	t.Helper()
	run, settings := v.translate(t, release, want)
	if settings.EnvironmentTemplatePath == "" {
		return false
	}
	settings.EnvironmentTemplatePath = ""
	plain, err := jobspec.Build(run, settings, identifier)
	return err == nil && !slices.Equal(variableNames(want.Job), variableNames(plain))
}

func variableNames(job any) []string {
	var names []string
	list, _ := dig(job, "spec", "template", "spec", "containers", 0, "env").([]any)
	for _, item := range list {
		name, _ := dig(item, "name").(string)
		names = append(names, name)
	}
	return names
}

func namelessSecret(_ *testing.T, _ vector, _ string, want outcome) bool {
	return want.Agent != nil && slices.Contains(want.Agent.ImagePullSecrets, "")
}

func nullValue(_ *testing.T, _ vector, _ string, want outcome) bool {
	list, _ := dig(want.Job, "spec", "template", "spec", "containers", 0, "env").([]any)
	return slices.ContainsFunc(list, func(item any) bool { return dig(item, "value") == nil })
}

func tokenBesideKeys(_ *testing.T, v vector, release string, _ outcome) bool {
	env := v.Input.Environment
	return !before(release, "0.15.0") && before(release, "1.0.0") && env["PREFECT__CLOUD__AGENT__AUTH_TOKEN"] != "" && env["PREFECT__CLOUD__API_KEY"] == ""
}

func laterStorage(_ *testing.T, _ vector, _ string, want outcome) bool {
	e := want.failure()
	return e != nil && strings.Contains(e.Message, "Unsupported value: Git'")
}
