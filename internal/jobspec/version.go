package jobspec

import (
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
func runCommand(version string) (string, error) {
	if version == "" {
		return commandCloudFlow, nil
	}
	m := matchVersion(version)
	if m == nil {
		return "", &FieldError{Field: "flow.core_version", Value: version, Problem: "is an invalid version", Mend: "register the flow with a released Prefect"}
	}
	if before(m, 0, 13) {
		return commandCloudFlow, nil
	}
	return commandFlowRun, nil
}

// since reports whether the flow was registered by major.minor.0 or later.
func (r FlowRun) since(major, minor int) bool {
	m := matchVersion(r.CoreVersion)
	return m != nil && !before(m, major, minor)
}

// matchVersion ignores what Python calls white space around a version.
func matchVersion(version string) []string {
	return coreVersion.FindStringSubmatch(strings.TrimFunc(version, func(r rune) bool {
		return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f
	}))
}

// before reports whether the version that coreVersion matched is older than
// major.minor.0, whose own pre-releases are.
func before(m []string, major, minor int) bool {
	if epoch := strings.TrimLeft(m[1], "0"); epoch != "" {
		return false
	}
	order := compareRelease(m[2], []int{major, minor})
	pre, post, dev := m[3], m[4], m[5]
	return order < 0 || order == 0 && (pre != "" || post == "" && dev != "")
}

// compareRelease compares the numbers of a version, missing ones being zero.
func compareRelease(release string, want []int) int {
	for i, part := range strings.Split(release, ".") {
		n, err := strconv.Atoi(part)
		wanted := 0
		if i < len(want) {
			wanted = want[i]
		}
		if err != nil || n > wanted {
			return 1
		}
		if n < wanted {
			return -1
		}
	}
	for _, wanted := range want[min(len(want), strings.Count(release, ".")+1):] {
		if wanted > 0 {
			return -1
		}
	}
	return 0
}
