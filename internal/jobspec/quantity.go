package jobspec

import (
	"encoding/json"
	"slices"
	"strings"
)

// maxQuantity is more than any quantity needs. Kubernetes' own reader takes
// seconds for a long one, and minutes for some exponents.
const (
	maxQuantity = 64
	maxExponent = 3
)

// oddQuantities reports whether the tree holds a quantity that is better not read.
// It looks below the keys that hold quantities in a Job.
func oddQuantities(value any, below bool) bool {
	switch v := value.(type) {
	case Tree:
		for key, item := range v {
			if oddQuantities(item, below || slices.Contains([]string{"requests", "limits", "overhead", "sizeLimit", "divisor"}, key)) {
				return true
			}
		}
	case []any:
		for _, item := range v {
			if oddQuantities(item, below) {
				return true
			}
		}
	case string:
		return below && oddQuantity(v)
	case json.Number:
		return below && oddQuantity(v.String())
	}
	return false
}

func oddQuantity(text string) bool {
	if len(text) > maxQuantity {
		return true
	}
	i := strings.IndexAny(text, "eE")
	return i >= 0 && len(strings.TrimLeft(text[i+1:], "+-0")) > maxExponent
}
