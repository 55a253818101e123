package jobspec_test

import (
	"strings"
	"testing"
)

// onPurpose is a way in which the Job of a release is another one on purpose. Rows
// hold by what is in a case, never by its name; each must match a case.
type onPurpose struct {
	defect  string
	applies func(t *testing.T, v vector, release string, want outcome) bool
	// paths are left out of the comparison.
	paths  []string
	reason string
}

// onPurposeIn gives the rows that hold for a case, and notes that they do.
func onPurposeIn(t *testing.T, v vector, release string, want outcome, used map[string]bool) (paths [][]string) {
	t.Helper()
	for _, row := range releaseDifferences() {
		if !row.applies(t, v, release, want) {
			continue
		}
		used[row.reason] = true
		for _, path := range row.paths {
			paths = append(paths, strings.Split(path, "/"))
		}
	}
	return paths
}

func releaseDifferences() []onPurpose {
	const env = "spec/template/spec/containers/0/env"
	return []onPurpose{
		{"D-37", tokenBesideKeys, []string{env}, "a token is passed as key too, so that flows of 1.0.0 and later have it"},
	}
}

func tokenBesideKeys(_ *testing.T, v vector, release string, _ outcome) bool {
	env := v.Input.Environment
	return !before(release, "0.15.0") && before(release, "1.0.0") && env["PREFECT__CLOUD__AGENT__AUTH_TOKEN"] != "" && env["PREFECT__CLOUD__API_KEY"] == ""
}
