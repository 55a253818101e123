package jobspec

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// RefusalHint says which of our Changes a refusal of the cluster is about, and how
// to do without it; empty if it is about none. Admission of all kinds, such as
// PodSecurityPolicy, SecurityContextConstraints, Pod Security, quotas, Kyverno and
// Gatekeeper, names the field that it does not want or misses. Changes that are
// kept as the reference has them are not to blame.
func RefusalHint(refusal string, keep []string) string {
	var hints []string
	for _, c := range Changes() {
		field := c.named(refusal)
		if about, ok := blame()[c.Name]; ok && !about(strings.ToLower(refusal)) {
			continue
		}
		if field == "" || c.Fixed || slices.Contains(keep, c.Name) {
			continue
		}
		hints = append(hints, fmt.Sprintf("%s is a change that this agent makes (%s); --keep %s leaves it out, as the Python agents do", field, c.Does, c.Name))
	}
	return strings.Join(hints, "; ")
}

// blame says of changes whose fields are in refusals of both kinds, of too much and of too
// little, whether a refusal is about the change. We add what Pod Security asks for, and
// take a limit away.
func blame() map[string]func(string) bool {
	return map[string]func(string) bool{
		"pod-security": func(text string) bool { return !strings.Contains(text, "violates podsecurity") },
		"cpu-limit":    func(text string) bool { return missing.MatchString(text) },
	}
}

// missing matches what quotas, limit ranges and policies say of a limit that is not there.
var missing = regexp.MustCompile(`must (specify|have|be (set|specified|defined))|no (cpu )?limit|(not|isn't) (set|specified|defined)|required|missing|without`)

// named is the first field of the change that a text names as a word of its own.
func (c Change) named(text string) string {
	text = strings.ToLower(text)
	for _, field := range c.Sets {
		word := strings.ToLower(field)
		for rest := text; ; {
			i := strings.Index(rest, word)
			if i < 0 {
				break
			}
			if !letterAt(rest, i-1) && !letterAt(rest, i+len(word)) {
				return field
			}
			rest = rest[i+len(word):]
		}
	}
	return ""
}

func letterAt(text string, i int) bool {
	return i >= 0 && i < len(text) && (text[i] >= 'a' && text[i] <= 'z' || text[i] >= '0' && text[i] <= '9')
}
