package config

import (
	"regexp"
	"strings"
)

// number is what Kubernetes takes as a quantity of memory or CPU, with bounds: an
// exponent of nine digits would keep its parser busy for ever.
var number = regexp.MustCompile(`^\+?(\d{1,30}\.?\d{0,30}|\.\d{1,30})([numkMGTPE]|[KMGTPE]i|[eE][+-]?\d{1,2})?$`)

func parseQuantity(text string) (string, error) {
	text = quantity(strings.TrimSpace(text))
	if text != "" && !number.MatchString(text) {
		return "", &valueError{problem: "is not a quantity", mend: "write one such as 500m, 2, 256Mi or 1Gi"}
	}
	return text, nil
}

// mistyped is a quantity whose suffix Kubernetes knows in another case only. An m and
// an M are both known, so they stay.
var mistyped = regexp.MustCompile(`^(\s*[+0-9.]+)([kmgtpeKMGTPE][iI]|[KgtpGTP])(\s*)$`)

func quantity(text string) string {
	parts := mistyped.FindStringSubmatch(text)
	if parts == nil {
		return text
	}
	suffix := strings.ToUpper(parts[2][:1]) + strings.ToLower(parts[2][1:])
	if suffix == "K" {
		suffix = "k"
	}
	return parts[1] + suffix + parts[3]
}
