package manifests

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
)

// pythonList is what Python's str makes of a list of texts.
func pythonList(items []string) string {
	quoted := make([]string, len(items))
	for i, item := range items {
		quoted[i] = pythonRepr(item)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// pythonRepr is Python's repr of a text: single quotes, double ones if the text
// has single and no double ones, and escapes for what cannot be printed.
func pythonRepr(text string) string {
	quote := '\''
	if strings.ContainsRune(text, '\'') && !strings.ContainsRune(text, '"') {
		quote = '"'
	}
	var b strings.Builder
	b.WriteRune(quote)
	for _, r := range text {
		if r == quote || r == '\\' {
			b.WriteRune('\\')
		}
		b.WriteString(pythonRune(r))
	}
	b.WriteRune(quote)
	return b.String()
}

func pythonRune(r rune) string {
	switch {
	case r == '\n':
		return `\n`
	case r == '\r':
		return `\r`
	case r == '\t':
		return `\t`
	case unicode.IsPrint(r):
		return string(r)
	case r <= 0xff:
		return fmt.Sprintf(`\x%02x`, r)
	case r <= 0xffff:
		return fmt.Sprintf(`\u%04x`, r)
	default:
		return fmt.Sprintf(`\U%08x`, r)
	}
}

// jsonObject is what json.dumps makes of a dict of texts.
func jsonObject(vars []EnvVar) string {
	members := make([]string, len(vars))
	for i, v := range vars {
		members[i] = jsonText(v.Name) + ": " + jsonText(v.Value)
	}
	return "{" + strings.Join(members, ", ") + "}"
}

// jsonList is what json.dumps makes of a list of texts.
func jsonList(items []string) string {
	quoted := make([]string, len(items))
	for i, item := range items {
		quoted[i] = jsonText(item)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// jsonText escapes all but printable ASCII.
func jsonText(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case strings.ContainsRune(`"\`, r):
			b.WriteString(`\` + string(r))
		case ' ' <= r && r <= '~':
			b.WriteRune(r)
		case strings.ContainsRune("\n\r\t\b\f", r):
			escaped := strconv.QuoteRune(r) // Go's short escapes are those of JSON
			b.WriteString(escaped[1 : len(escaped)-1])
		default:
			for _, unit := range utf16.AppendRune(nil, r) {
				fmt.Fprintf(&b, `\u%04x`, unit)
			}
		}
	}
	b.WriteByte('"')
	return b.String()
}
