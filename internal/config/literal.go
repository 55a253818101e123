package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxItems bounds a table in a variable.
const maxItems = 4096

// parseList reads the text of a list, wherever it stands: a JSON or Python list, a
// comma list, or one word (D-01, D-71). What the reference took never keeps an agent
// from starting, so a broken list is read word by word, and the error beside the items
// says what is odd about it.
func parseList(text string) ([]string, error) {
	trimmed := strings.TrimSpace(text)
	if none := []string{"", "{}", "null", "None"}; slices.Contains(none, trimmed) {
		return nil, nil
	}
	if strings.ContainsRune("[(", rune(trimmed[0])) {
		r := &reader{text: trimmed}
		items, err := r.whole(r.list)
		if err != nil {
			items = words(trimmed)
		}
		return items, err
	}
	if quoted, ok := unquoted(trimmed); ok {
		return parseList(quoted) // as a file of variables or a template of a manifest leaves it
	}
	var items []string
	for item := range strings.FieldsFuncSeq(trimmed, func(r rune) bool { return strings.ContainsRune(",\r\n", r) }) {
		item = strings.TrimSpace(item)
		if quoted, ok := unquoted(item); ok {
			item = quoted
		}
		if item != "" {
			items = append(items, item)
		}
	}
	return items, nil
}

// words is what a broken list holds between its commas, brackets and quotes.
func words(text string) []string {
	var items []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.Trim(item, " \t\r\n[](){}\"'"); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// unquoted is the content of a text that is one Python string as a whole, which
// the reference's conversion of variables strips of its quotes.
func unquoted(text string) (string, bool) {
	r := &reader{text: text}
	content, err := r.quoted()
	return content, err == nil && r.at == len(text)
}

// parsePairs reads variables from a JSON object or a Python dict, in its order.
// Values are texts: what looks like a number or switch is kept as it is written
// (D-06, D-70), and nothing is expanded (D-05). What is false in Python is none.
func parsePairs(text string) ([]Pair, error) {
	trimmed := strings.TrimSpace(text)
	if none := []string{"", "[]", "()", "null", "None", "False", "0", `""`, "''"}; slices.Contains(none, trimmed) {
		return nil, nil
	}
	r := &reader{text: trimmed}
	if trimmed[0] != '{' {
		return nil, r.errorf("want an object")
	}
	var pairs []Pair
	_, err := r.whole(func() ([]string, error) { return nil, r.dict(&pairs) })
	return pairs, err
}

// reader reads the literals that JSON and Python share, without nesting.
type reader struct {
	text string
	at   int
}

// errorf tells where reading stopped. It shows nothing of the text, which may
// hold credentials.
func (r *reader) errorf(format string, args ...any) error {
	return &valueError{
		problem: fmt.Sprintf(format, args...) + " at character " + strconv.Itoa(utf8.RuneCountInString(r.text[:min(r.at, len(r.text))])+1),
		mend:    `write ["a", "b"] for a list, {"NAME": "value"} for variables`,
	}
}

func (r *reader) whole(read func() ([]string, error)) ([]string, error) {
	items, err := read()
	if err != nil {
		return nil, err
	}
	if r.peek() != 0 || r.at < len(r.text) {
		return nil, r.errorf("want the end")
	}
	return items, nil
}

// peek skips white space and returns the next byte, 0 at the end.
func (r *reader) peek() byte {
	for r.at < len(r.text) && strings.IndexByte(" \t\r\n", r.text[r.at]) >= 0 {
		r.at++
	}
	if r.at == len(r.text) {
		return 0
	}
	return r.text[r.at]
}

func (r *reader) take(c byte) bool {
	if r.peek() != c || r.at == len(r.text) {
		return false
	}
	r.at++
	return true
}

// list reads [..] or (..); a comma may end it, as in Python. An item may be an object
// with nothing but a name, as Kubernetes lists references.
func (r *reader) list() ([]string, error) {
	closing := byte(']')
	if r.text[r.at] == '(' {
		closing = ')'
	}
	r.at++
	items := []string{}
	for !r.take(closing) {
		item, err := r.item(string(closing))
		if err != nil {
			return nil, err
		}
		items = append(items, item)
		if !r.take(',') && r.peek() != closing {
			return nil, r.errorf("want a comma or %c", closing)
		}
	}
	return items, nil
}

func (r *reader) item(end string) (string, error) {
	if r.peek() != '{' {
		return r.scalar(end)
	}
	var pairs []Pair
	at := r.at
	if err := r.dict(&pairs); err != nil || len(pairs) != 1 || pairs[0].Name != "name" {
		r.at = at
		return "", r.errorf("lists and tables inside are not possible; write them as text in quotes")
	}
	return pairs[0].Value, nil
}

func (r *reader) dict(pairs *[]Pair) error {
	r.at++
	seen := map[string]int{}
	for !r.take('}') {
		p, err := r.pair()
		if err != nil {
			return err
		}
		if i, again := seen[p.Name]; again {
			(*pairs)[i] = p
		} else {
			seen[p.Name] = len(*pairs)
			*pairs = append(*pairs, p)
		}
		if len(*pairs) > maxItems {
			return r.errorf("more than %d variables", maxItems)
		}
		if !r.take(',') && r.peek() != '}' {
			return r.errorf("want a comma or }")
		}
	}
	return nil
}

func (r *reader) pair() (Pair, error) {
	name, err := r.scalar(":")
	if err != nil {
		return Pair{}, err
	}
	if name == "" {
		return Pair{}, r.errorf("a name is empty")
	}
	if !r.take(':') {
		return Pair{}, r.errorf("want a colon")
	}
	value, err := r.scalar("}")
	return Pair{Name: name, Value: value}, err
}

// scalar reads a quoted text or a bare word up to a comma or the given end.
func (r *reader) scalar(end string) (string, error) {
	switch c := r.peek(); {
	case c == '"' || c == '\'':
		return r.quoted()
	case strings.IndexByte("[({", c) >= 0 && c != 0:
		return "", r.errorf("lists and tables inside are not possible; write them as text in quotes")
	}
	rest := r.text[r.at:]
	word := strings.TrimSpace(rest[:indexOrLen(rest, ","+end+"\"'[{(")])
	switch word {
	case "":
		return "", r.errorf("want a value")
	case "null", "None":
		r.at += len(word)
		return "", nil // Kubernetes reads a null value as an empty one
	}
	r.at += len(word)
	return word, nil
}

func indexOrLen(text, chars string) int {
	if i := strings.IndexAny(text, chars); i >= 0 {
		return i
	}
	return len(text)
}

// quoted reads a text in single or double quotes.
func (r *reader) quoted() (string, error) {
	if r.at == len(r.text) || r.text[r.at] != '"' && r.text[r.at] != '\'' {
		return "", r.errorf("want a text in quotes")
	}
	quote := r.text[r.at]
	r.at++
	var b strings.Builder
	for r.at < len(r.text) {
		switch c := r.text[r.at]; c {
		case quote:
			r.at++
			return b.String(), nil
		case '\\':
			if err := r.escape(&b); err != nil {
				return "", err
			}
		default:
			b.WriteByte(c)
			r.at++
		}
	}
	return "", r.errorf("a text does not end")
}

// escape reads one escape sequence. One that neither JSON nor Python has stays
// as it is, as in Python.
func (r *reader) escape(b *strings.Builder) error {
	if r.at+1 == len(r.text) {
		return r.errorf("a text does not end")
	}
	c := r.text[r.at+1]
	const plain, meant = `\/"'nrtbfav`, "\\/\"'\n\r\t\b\f\a\v"
	if i := strings.IndexByte(plain, c); i >= 0 {
		b.WriteByte(meant[i])
		r.at += 2
		return nil
	}
	digits, known := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
	if !known {
		b.WriteByte('\\')
		r.at++
		return nil
	}
	code, err := r.hex(digits)
	if err != nil {
		return err
	}
	b.WriteRune(code)
	return nil
}

// hex reads \xHH, \uHHHH or \UHHHHHHHH, and two of them for a pair of surrogates.
func (r *reader) hex(digits int) (rune, error) {
	one := func() (rune, bool) {
		end := r.at + 2 + digits
		if end > len(r.text) {
			return 0, false
		}
		code, err := strconv.ParseUint(r.text[r.at+2:end], 16, 32)
		if err != nil || code > utf8.MaxRune {
			return 0, false
		}
		r.at = end
		return rune(code), true
	}
	code, ok := one()
	if !ok {
		return 0, r.errorf("a \\ is followed by a wrong code")
	}
	if utf16.IsSurrogate(code) && strings.HasPrefix(r.text[r.at:], `\u`) {
		before := r.at
		if low, ok := one(); ok && utf16.DecodeRune(code, low) != utf8.RuneError {
			return utf16.DecodeRune(code, low), nil
		}
		r.at = before
	}
	return code, nil
}
