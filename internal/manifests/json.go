package manifests

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
)

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
