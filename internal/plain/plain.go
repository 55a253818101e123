// Package plain makes foreign text fit to be shown: on a terminal, in a log, on a
// page, in a report. It knows what steers a terminal or a reader's eye; it knows
// nothing of where a text comes from.
package plain

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

// mark stands at the end of a text that was cut.
const mark = "…"

// Line is a text on one line, at most most bytes long. Line breaks and tabs become
// one space, together with the spaces around them, and nothing at either end. What
// cannot be printed becomes U+FFFD: control characters, ESC among them, marks that
// change the direction of writing, what has no width, and what is not UTF-8. Every
// other character of Unicode stays. A longer text is cut at a character and ends
// with "…".
func Line(text string, most int) string {
	out := make([]byte, 0, min(len(text), most)+utf8.UTFMax)
	broken := false
	for _, r := range text {
		if breaks(r) || r == '\t' {
			broken = true
			out = bytes.TrimRight(out, " ")
			continue
		}
		if broken && r == ' ' {
			continue
		}
		if broken && len(out) > 0 {
			out = append(out, ' ')
		}
		broken = false
		out = utf8.AppendRune(out, printable(r))
		if len(out) > most {
			return cut(out, most)
		}
	}
	return string(out)
}

// Text is a text of several lines, otherwise as Line makes it: each line break
// becomes \n, and tabs stay.
func Text(text string, most int) string {
	out := make([]byte, 0, min(len(text), most)+utf8.UTFMax)
	before := rune(0)
	for _, r := range text {
		switch {
		case before == '\r' && r == '\n': // written as one break already
		case breaks(r):
			out = append(out, '\n')
		case r == '\t':
			out = append(out, '\t')
		default:
			out = utf8.AppendRune(out, printable(r))
		}
		if before = r; len(out) > most {
			return cut(out, most)
		}
	}
	return string(out)
}

// cut shortens what Line or Text made, which is UTF-8, and says so.
func cut(text []byte, most int) string {
	end := max(most-len(mark), 0)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	if most < len(mark) {
		return ""
	}
	return string(text[:end]) + mark
}

// breaks reports whether a character ends a line somewhere: LF, VT, FF, CR, NEL, and
// the separators of lines and paragraphs.
func breaks(r rune) bool {
	return r >= '\n' && r <= '\r' || r == '\u0085' || r == '\u2028' || r == '\u2029'
}

// printable lets the two joiners through, which words of several languages and many
// emoji need.
func printable(r rune) rune {
	const nonJoiner, joiner = '\u200c', '\u200d'
	if r != nonJoiner && r != joiner && unicode.In(r, unicode.Cc, unicode.Cf) {
		return utf8.RuneError
	}
	return r
}
