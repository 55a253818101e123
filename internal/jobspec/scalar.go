package jobspec

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// What PyYAML takes for a number, in YAML 1.1; 1e3 and 0o17 are none.
var (
	pythonInt   = regexp.MustCompile(`^[-+]?(?:0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|[1-9][0-9_]*(?::[0-5]?[0-9])+)$`)
	pythonFloat = regexp.MustCompile(`^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?` +
		`|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$`)
)

// scalar is the value of a scalar node, or what is wrong with it.
func scalar(n *yaml.Node) (value any, problem string) {
	if n.Style&yaml.TaggedStyle != 0 {
		return tagged(n)
	}
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return n.Value, ""
	}
	return unquoted(n.Value)
}

// tagged reads a scalar whose type is written before it.
func tagged(n *yaml.Node) (value any, problem string) {
	switch n.Tag {
	case "!!str", "!!timestamp":
		return n.Value, ""
	case "!!null":
		return nil, ""
	case "!!bool":
		if truth, ok := boolean(strings.ToLower(n.Value)); ok {
			return truth, ""
		}
		return nil, "is no boolean, as its tag says"
	case "!!int":
		return integer(strings.ReplaceAll(n.Value, "_", ""))
	case "!!float":
		return float(strings.ToLower(strings.ReplaceAll(n.Value, "_", "")))
	}
	return nil, "has the tag " + shorten(n.Tag) + ", which has no meaning here"
}

// unquoted reads a scalar without quotes by PyYAML's order: boolean, float, int, null.
func unquoted(text string) (value any, problem string) {
	switch text {
	case "", "~", "null", "Null", "NULL":
		return nil, ""
	case "=", "<<":
		return nil, "is " + text + ", which has no value; put it in quotes"
	}
	switch c := text[0]; {
	case strings.IndexByte("yYnNtTfFoO", c) >= 0:
		lower := strings.ToLower(text)
		if truth, ok := boolean(lower); ok && (text == lower || text == strings.ToUpper(text) || text == strings.ToUpper(text[:1])+lower[1:]) {
			return truth, ""
		}
	case c == '-' || c == '+' || c == '.' || c >= '0' && c <= '9':
		if pythonFloat.MatchString(text) {
			return float(strings.ToLower(strings.ReplaceAll(text, "_", "")))
		}
		if pythonInt.MatchString(text) {
			return integer(strings.ReplaceAll(text, "_", ""))
		}
	}
	return text, ""
}

func boolean(lower string) (value, ok bool) {
	switch lower {
	case "yes", "true", "on":
		return true, true
	case "no", "false", "off":
		return false, true
	}
	return false, false
}

// maxDigits is Python's own limit on whole numbers in a text.
const maxDigits = 4300

// integer is construct_yaml_int of PyYAML.
func integer(text string) (value any, problem string) {
	const wrong = "is no whole number"
	if len(text) > maxDigits {
		return nil, fmt.Sprintf("has more than %d digits", maxDigits)
	}
	digits, negative := strings.CutPrefix(text, "-")
	digits = strings.TrimPrefix(digits, "+")
	n, ok := new(big.Int), true
	switch {
	case strings.HasPrefix(digits, "0b"):
		n, ok = n.SetString(digits[2:], 2)
	case strings.HasPrefix(digits, "0x"):
		n, ok = n.SetString(digits[2:], 16)
	case strings.Contains(digits, ":"):
		for part := range strings.SplitSeq(digits, ":") {
			digit, valid := new(big.Int).SetString(part, 10)
			if !valid {
				return nil, wrong
			}
			n.Add(n.Mul(n, big.NewInt(60)), digit)
		}
	case len(digits) > 1 && digits[0] == '0':
		n, ok = n.SetString(digits, 8)
	default:
		n, ok = n.SetString(digits, 10)
	}
	if !ok {
		return nil, wrong
	}
	if negative {
		n.Neg(n)
	}
	if n.IsInt64() {
		return n.Int64(), ""
	}
	return json.Number(n.String()), ""
}

// float is construct_yaml_float of PyYAML, for lower case without underscores.
func float(text string) (value any, problem string) {
	digits, negative := strings.CutPrefix(text, "-")
	digits = strings.TrimPrefix(digits, "+")
	sum := 0.0
	for part := range strings.SplitSeq(digits, ":") {
		digit, err := strconv.ParseFloat(part, 64)
		if err != nil || math.IsInf(digit, 0) || math.IsNaN(digit) {
			return nil, "is not a finite number"
		}
		sum = sum*60 + digit
	}
	if negative {
		sum = -sum
	}
	if math.IsInf(sum, 0) {
		return nil, "is not a finite number"
	}
	return sum, ""
}

// keyText is the JSON form of a key, as Python's json writes it.
func keyText(n *yaml.Node) (string, bool) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.ScalarNode {
		return "", false
	}
	if n.Value == "=" || n.Value == "<<" {
		return n.Value, true
	}
	value, problem := scalar(n)
	if problem != "" {
		return "", false
	}
	switch v := value.(type) {
	case string:
		return v, true
	case float64:
		return pythonFloatText(v), true
	}
	raw, err := json.Marshal(value)
	return string(raw), err == nil
}

// pythonFloatText is repr() of a Python float.
func pythonFloatText(v float64) string {
	if exponent := math.Abs(v); exponent != 0 && (exponent < 1e-4 || exponent >= 1e16) {
		return strconv.FormatFloat(v, 'e', -1, 64)
	}
	text := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}
