package jobspec

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v2"
)

// Bounds on a template in YAML; go-yaml itself refuses excessive aliases.
const (
	maxNodes     = 100_000
	maxYAMLBytes = 256 << 10
)

// ParseYAML reads a Job template as PyYAML's safe_load does, and returns what its
// JSON form would be. An empty text is nil.
func ParseYAML(text []byte) (any, error) {
	if len(text) > maxYAMLBytes {
		return nil, &FieldError{Field: "template", Problem: fmt.Sprintf("has %d bytes, at most %d are read", len(text), maxYAMLBytes), Mend: "make it smaller"}
	}
	var root node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, &FieldError{Field: "template", Problem: "is not valid YAML: " + shorten(err.Error()), Mend: "correct it"}
	}
	count := 0
	if err := checkTree("", root.value, 0, &count); err != nil {
		return nil, err
	}
	return root.value, nil
}

// node decodes one YAML value. go-yaml hands each value to it first, so that
// scalars can be resolved by PyYAML's rules instead of go-yaml's.
type node struct{ value any }

// UnmarshalYAML implements yaml.Unmarshaler.
func (n *node) UnmarshalYAML(unmarshal func(any) error) error {
	var text string
	if err := unmarshal(&text); err == nil {
		return n.scalar(unmarshal, text)
	}
	var object map[string]node
	if err := unmarshal(&object); object != nil {
		tree := make(Tree, len(object))
		for key, item := range object {
			tree[key] = item.value
		}
		n.value = tree
		return err
	}
	var items []node
	if err := unmarshal(&items); items != nil {
		list := make([]any, len(items))
		for i, item := range items {
			list[i] = item.value
		}
		n.value = list
		return err
	}
	return n.scalar(unmarshal, "")
}

func (n *node) scalar(unmarshal func(any) error, text string) error {
	var value any
	if err := unmarshal(&value); err != nil {
		return err
	}
	n.value = resolve(value, text)
	return nil
}

// What PyYAML takes for a number; go-yaml takes more, such as 1e3 and 0o17.
var (
	pythonInt   = regexp.MustCompile(`^[-+]?(?:0b[01_]+|0[0-7_]*|[1-9][0-9_]*|0x[0-9a-fA-F_]+)$`)
	pythonFloat = regexp.MustCompile(`^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$`)
)

// resolve corrects go-yaml's reading of a plain scalar by its text.
func resolve(value any, text string) any {
	switch v := value.(type) {
	case bool:
		// PyYAML knows yes and no, but not y and n.
		if len(text) == 1 {
			return text
		}
		return v
	case int:
		return number(int64(v), text, pythonInt)
	case int64:
		return number(v, text, pythonInt)
	case uint64:
		return number(json.Number(strconv.FormatUint(v, 10)), text, pythonInt)
	case float64:
		if big, ok := bigInt(text); ok {
			return big
		}
		return number(v, text, pythonFloat)
	}
	if value == nil || kind(value) == "string" {
		return value
	}
	return text
}

// bigInt keeps integers that go-yaml rounds to float64.
func bigInt(text string) (json.Number, bool) {
	digits := strings.TrimPrefix(strings.ReplaceAll(text, "_", ""), "+")
	if !pythonInt.MatchString(digits) {
		return "", false
	}
	n, ok := new(big.Int).SetString(digits, 0)
	if !ok {
		return "", false
	}
	return json.Number(n.String()), true
}

func number(value any, text string, python *regexp.Regexp) any {
	if text != "" && !python.MatchString(text) {
		return text
	}
	return value
}

// checkTree refuses what JSON cannot hold and what is too large or too deep.
func checkTree(path string, value any, depth int, count *int) error {
	if *count++; *count > maxNodes {
		return &FieldError{Field: "template", Problem: fmt.Sprintf("has more than %d values", maxNodes), Mend: "make it smaller"}
	}
	if depth > maxDepth {
		return &FieldError{Field: shorten(path), Problem: fmt.Sprintf("is nested more than %d deep", maxDepth), Mend: "make it flatter"}
	}
	switch v := value.(type) {
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return &FieldError{Field: path, Problem: "is not a finite number"}
		}
	case Tree:
		for key, item := range v {
			if err := checkTree(join(path, key), item, depth+1, count); err != nil {
				return err
			}
		}
	case []any:
		for i, item := range v {
			if err := checkTree(fmt.Sprintf("%s[%d]", path, i), item, depth+1, count); err != nil {
				return err
			}
		}
	}
	return nil
}
