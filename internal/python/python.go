// Package python writes values as Python does, where the reference passes them on
// as text. It knows str and repr of texts and lists, and nothing of what they mean.
package python

import (
	"fmt"
	"strings"
	"unicode"
)

// List is str() of a list of texts, the form in which agents pass their labels
// on: ['a', "it's"].
func List(items []string) string {
	quoted := make([]string, len(items))
	for i, item := range items {
		quoted[i] = repr(item)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// repr is repr() of a text: single quotes, double ones if the text has single and
// no double ones, and escapes for what cannot be printed.
func repr(text string) string {
	quote := '\''
	if strings.ContainsRune(text, '\'') && !strings.ContainsRune(text, '"') {
		quote = '"'
	}
	var b strings.Builder
	b.WriteRune(quote)
	for _, r := range text {
		writeRune(&b, r, quote)
	}
	b.WriteRune(quote)
	return b.String()
}

func writeRune(b *strings.Builder, r, quote rune) {
	switch {
	case r == quote || r == '\\':
		b.WriteRune('\\')
		b.WriteRune(r)
	case r == '\n':
		b.WriteString(`\n`)
	case r == '\r':
		b.WriteString(`\r`)
	case r == '\t':
		b.WriteString(`\t`)
	case unicode.IsPrint(r):
		b.WriteRune(r)
	case r < 0x100:
		fmt.Fprintf(b, `\x%02x`, r)
	case r < 0x10000:
		fmt.Fprintf(b, `\u%04x`, r)
	default:
		fmt.Fprintf(b, `\U%08x`, r)
	}
}
