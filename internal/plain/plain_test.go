package plain_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/prefect-kube/prefect-kube/internal/plain"
)

func TestLineAndText(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, line, lines string }{
		"ordinary":         {"größe 東京 עברית نص 👩\u200d👩\u200d👧 می\u200cخواهم a  b\u00a0c", "größe 東京 עברית نص 👩\u200d👩\u200d👧 می\u200cخواهم a  b\u00a0c", "größe 東京 עברית نص 👩\u200d👩\u200d👧 می\u200cخواهم a  b\u00a0c"},
		"clipboard (OSC)":  {"\x1b]52;c;cm0=\x1b\\x\a", "�]52;c;cm0=�\\x�", "�]52;c;cm0=�\\x�"},
		"cursor (CSI)":     {"\x1b[1A\x1b[2Khidden", "�[1A�[2Khidden", "�[1A�[2Khidden"},
		"C1":               {"\u009b1A\u009d0;x\u009c", "�1A�0;x�", "�1A�0;x�"},
		"C1 as bytes":      {"\x9b1A", "�1A", "�1A"},
		"bidi":             {"a\u202eb\u2066c\u2069\u200f", "a�b�c��", "a�b�c��"},
		"no width":         {"a\u200bb\ufeff\u2060\U000e0041", "a�b���", "a�b���"},
		"NUL, DEL, BS":     {"a\x00b\x7fc\b", "a�b�c�", "a�b�c�"},
		"not UTF-8":        {"a\xff\xc3(\xed\xa0\x80", "a��(���", "a��(���"},
		"line breaks":      {"\n a \r\n\tb\rc\n\nd\u2028e\u0085f\v", "a b c d e f", "\n a \n\tb\nc\n\nd\ne\nf\n"},
		"spaces stay":      {"  a  b ", "  a  b ", "  a  b "},
		"nothing but ends": {"\n \n", "", "\n \n"},
		"empty":            {"", "", ""},
	} {
		if got := plain.Line(c.text, 200); got != c.line {
			t.Errorf("%s: Line gives %q, want %q", name, got, c.line)
		}
		if got := plain.Text(c.text, 200); got != c.lines {
			t.Errorf("%s: Text gives %q, want %q", name, got, c.lines)
		}
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		most int
		want string
	}{
		{"abcdef", 6, "abcdef"},
		{"abcdefg", 6, "abc…"},
		{"ab東京", 7, "ab…"},
		{"ab東京", 8, "ab東京"},
		{strings.Repeat("\x1b", 1<<20), 9, "��…"},
		{"abcd", 3, "…"},
		{"abcd", 2, ""},
		{"abcd", 0, ""},
	} {
		for name, f := range map[string]func(string, int) string{"Line": plain.Line, "Text": plain.Text} {
			if got := f(c.text, c.most); got != c.want {
				t.Errorf("%s(%.10q, %d) gives %q, want %q", name, c.text, c.most, got, c.want)
			}
		}
	}
}

func FuzzPlain(f *testing.F) {
	for _, text := range []string{"", "a b", "\x1b[31mred\x1b[0m", "a\r\n\tb", "\u202e\xff東", strings.Repeat("x", 99)} {
		f.Add(text, uint8(20))
	}
	f.Fuzz(func(t *testing.T, text string, bound uint8) {
		most := int(bound)
		for name, make := range map[string]func(string, int) string{"Line": plain.Line, "Text": plain.Text} {
			got := make(text, most)
			if len(got) > most || !utf8.ValidString(got) {
				t.Errorf("%s(%q, %d) = %q: longer than that, or not UTF-8", name, text, most, got)
			}
			kept := got
			if name == "Text" {
				kept = strings.NewReplacer("\n", "", "\t", "").Replace(got)
			}
			if strings.ContainsFunc(kept, steers) {
				t.Errorf("%s(%q, %d) = %q, which steers a terminal", name, text, most, got)
			}
			if again := make(got, most); again != got {
				t.Errorf("%s(%q, %d) = %q, which would become %q", name, text, most, got, again)
			}
		}
	})
}

func steers(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }
