package jobspec

import (
	"cmp"
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// coreVersion is PEP 440 as far as the run command depends on it.
var coreVersion = regexp.MustCompile(`(?i)^v?(?:(\d+)!)?(\d+(?:\.\d+)*)` +
	`([-_.]?(?:alpha|beta|preview|pre|rc|a|b|c)[-_.]?\d*)?` +
	`(-\d+|[-_.]?(?:post|rev|r)[-_.]?\d*)?` +
	`([-_.]?dev[-_.]?\d*)?` +
	`(?:\+[a-z0-9]+(?:[-_.][a-z0-9]+)*)?$`)

const (
	commandCloudFlow = "prefect execute cloud-flow"
	commandFlowRun   = "prefect execute flow-run"
)

// runCommand is get_flow_run_command of Prefect 1.4.1: flows older than 0.13.0
// know only the older command, an unknown version counts as older.
func runCommand(core string) (string, error) {
	if core == "" {
		return commandCloudFlow, nil
	}
	v, ok := parseVersion(core)
	if !ok {
		return "", &FieldError{Field: "flow.core_version", Value: core, Problem: "is an invalid version", Mend: "register the flow with a released Prefect"}
	}
	if v.before("0.13.0") {
		return commandCloudFlow, nil
	}
	return commandFlowRun, nil
}

// since reports whether the flow was registered by that release or a later one.
func (r FlowRun) since(release string) bool {
	v, ok := parseVersion(r.CoreVersion)
	return ok && !v.before(release)
}

// version is a version of Prefect by PEP 440, as coreVersion takes it apart.
type version struct{ epoch, release, pre, post, dev string }

// parseVersion ignores what Python calls white space around a version.
func parseVersion(text string) (version, bool) {
	m := coreVersion.FindStringSubmatch(strings.TrimFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f
	}))
	if m == nil {
		return version{}, false
	}
	return version{strings.TrimLeft(m[1], "0"), m[2], m[3], m[4], m[5]}, true
}

// before reports whether the version is older than a release, whose own
// pre-releases are. Nothing is older than the release "".
func (v version) before(release string) bool {
	if v.epoch != "" || release == "" {
		return false
	}
	order := compareRelease(v.release, release)
	return order < 0 || order == 0 && (v.pre != "" || v.post == "" && v.dev != "")
}

// compareRelease compares the numbers of two versions, missing ones being zero.
func compareRelease(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		if order := cmp.Compare(numberAt(as, i), numberAt(bs, i)); order != 0 {
			return order
		}
	}
	return 0
}

func numberAt(parts []string, i int) int {
	if i >= len(parts) {
		return 0
	}
	n, err := strconv.Atoi(parts[i])
	if err != nil {
		return math.MaxInt // more digits than a number holds
	}
	return n
}
