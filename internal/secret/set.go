package secret

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/prefect-kube/prefect-kube/internal/plain"
)

const (
	// shortest is from how many bytes on a secret is replaced. Shorter texts are part
	// of ordinary words, and a text full of holes helps nobody.
	shortest = 6
	// maxLearned is how many secrets are remembered that came with time, such as the
	// tokens of a service account, which are renewed every hour.
	maxLearned = 100
)

// words are texts of our own that a careless password may equal. Hiding them would
// make every line unreadable and would show the password by that.
func words() []string {
	return []string{"prefect", "prefect-kube", "kubernetes", "default", "cluster", "server", "localhost", "system", "password", "username"}
}

// Set knows the secrets of a process and hides them in texts that leave it: log,
// terminal, pages, reports, and what is written to Prefect. Beside the secrets it
// knows how they look: user information in an address, a token in a header or behind
// a question mark is hidden whoever it belongs to. Secrets of fewer than six
// characters are hidden in such places only. The methods are safe for concurrent use;
// a nil Set hides what looks like a secret.
type Set struct {
	mu sync.RWMutex
	// fixed are from the configuration, learned came later, the newest last.
	fixed, learned []string
	written        *written
}

// written are all ways in which secrets may be written.
type written struct {
	replacer *strings.Replacer
	// starts has them by their first bytes, longest is the length of the longest.
	starts  map[string][]string
	longest int
}

// String keeps a Set from being printed.
func (s *Set) String() string { return redacted }

// Format writes the placeholder for every verb.
func (s *Set) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// NewSet makes a Set of credentials.
func NewSet(values ...Value) *Set {
	s := &Set{}
	s.Add(values...)
	return s
}

// Add makes the Set know credentials: what they are now and, where they come from a
// file, what they will be.
func (s *Set) Add(values ...Value) {
	for _, v := range values {
		if v.follow != nil {
			v.follow(s.Learn)
		}
		if text, err := v.Reveal(); err == nil && v.follow == nil {
			s.remember(&s.fixed, text)
		}
	}
}

// digest is what follows the @ in the name of an image.
var digest = regexp.MustCompile(`^sha[0-9]+:`)

// AddAddress makes the Set know the user information and the query of an address,
// also of one that cannot be parsed. Names of images and of mailboxes have none.
func (s *Set) AddAddress(address string) {
	_, rest, found := strings.Cut(address, "://")
	if !found {
		rest = address
	}
	rest, query, _ := strings.Cut(rest, "?")
	if at := strings.LastIndexByte(rest, '@'); at >= 0 && !digest.MatchString(rest[at+1:]) {
		name, password, given := strings.Cut(rest[:at], ":")
		if found || given {
			s.addUser(name, password)
		}
	}
	for pair := range strings.FieldsFuncSeq(query, func(r rune) bool { return r == '&' || r == ';' || r == '#' }) {
		_, value, _ := strings.Cut(pair, "=")
		s.remember(&s.fixed, value, unescaped(value, url.QueryUnescape))
	}
}

func (s *Set) addUser(name, password string) {
	plainName, plainPassword := unescaped(name, url.PathUnescape), unescaped(password, url.PathUnescape)
	basic := plainName + ":" + plainPassword
	s.remember(&s.fixed, name, password, plainName, plainPassword, base64.StdEncoding.EncodeToString([]byte(basic)))
}

func unescaped(text string, unescape func(string) (string, error)) string {
	meant, err := unescape(text)
	if err != nil {
		return text
	}
	return meant
}

// Learn makes the Set know a secret that is one of many in the course of time. The
// newest hundred are remembered.
func (s *Set) Learn(text string) { s.remember(&s.learned, text) }

// Transport learns the credential of each request before it is sent, whatever gave
// it: a server or a proxy may repeat it.
func (s *Set) Transport(next http.RoundTripper) http.RoundTripper {
	return &learner{set: s, next: next}
}

type learner struct {
	set  *Set
	next http.RoundTripper
}

// CloseIdleConnections does so where the next one can.
func (l *learner) CloseIdleConnections() {
	if c, ok := l.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// RoundTrip implements http.RoundTripper.
func (l *learner) RoundTrip(req *http.Request) (*http.Response, error) {
	for _, name := range []string{"Authorization", "Proxy-Authorization", "Cookie"} {
		for _, value := range req.Header.Values(name) {
			l.set.Learn(value[strings.IndexByte(value, ' ')+1:])
		}
	}
	if user, password, ok := req.BasicAuth(); ok {
		l.set.Learn(user)
		l.set.Learn(password)
	}
	return l.next.RoundTrip(req)
}

// remember adds texts to a list of the Set.
func (s *Set) remember(list *[]string, texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := false
	for _, text := range texts {
		if len(text) < shortest || slices.Contains(words(), text) || slices.Contains(s.fixed, text) {
			continue
		}
		at := slices.Index(*list, text)
		if at >= 0 {
			*list = slices.Delete(*list, at, at+1)
		}
		*list = append(*list, text)
		changed = changed || at < 0
	}
	if over := len(s.learned) - maxLearned; over > 0 {
		s.learned = slices.Delete(s.learned, 0, over)
	}
	if changed {
		s.prepare()
	}
}

// prepare puts longer texts first: one secret may be part of another.
func (s *Set) prepare() {
	var forms []string
	for _, text := range slices.Concat(s.fixed, s.learned) {
		forms = append(forms, formsOf(text)...)
	}
	slices.SortFunc(forms, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	forms = slices.Compact(forms)
	w := &written{starts: map[string][]string{}, longest: len(forms[0])}
	pairs := make([]string, 0, 2*len(forms))
	for _, form := range forms {
		w.starts[form[:shortest]] = append(w.starts[form[:shortest]], form)
		pairs = append(pairs, form, redacted)
	}
	w.replacer = strings.NewReplacer(pairs...)
	s.written = w
}

// formsOf are the ways in which a server, a library or an error quotes a text.
func formsOf(text string) []string {
	quoted := strconv.Quote(text)
	inJSON, _ := json.Marshal(text) // a text always has a form
	forms := []string{
		text, plain.Line(text, len(text)), quoted[1 : len(quoted)-1], string(inJSON[1 : len(inJSON)-1]),
		base64.StdEncoding.EncodeToString([]byte(text)), base64.RawStdEncoding.EncodeToString([]byte(text)),
		base64.URLEncoding.EncodeToString([]byte(text)), base64.RawURLEncoding.EncodeToString([]byte(text)),
	}
	for _, escaped := range []string{url.QueryEscape(text), url.PathEscape(text), url.User(text).String()} {
		forms = append(forms, escaped, lowerEscapes(escaped))
	}
	inHex := hex.EncodeToString([]byte(text))
	forms = append(forms, inHex, strings.ToUpper(inHex), html.EscapeString(text))
	forms = append(forms, insideBase64(text)...)
	return slices.DeleteFunc(forms, func(form string) bool { return len(form) < shortest })
}

// insideBase64 is what of the base64 of a longer text, such as a whole header, comes
// from the text alone, for each way in which it can lie in groups of three bytes.
func insideBase64(text string) []string {
	const group, bits, perDigit, fewest = 3, 8, 6, 8
	var forms []string
	for before := range group {
		whole := append(make([]byte, before, before+len(text)), text...)
		first, last := (before*bits+perDigit-1)/perDigit, len(whole)*bits/perDigit
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			if encoded := encoding.EncodeToString(whole); last-first >= fewest {
				forms = append(forms, encoded[first:last])
			}
		}
	}
	return forms
}

// lowerEscapes writes %2F as %2f.
func lowerEscapes(text string) string {
	out := []byte(text)
	for i := 0; i+2 < len(out); i++ {
		if out[i] == '%' {
			copy(out[i+1:i+3], strings.ToLower(text[i+1:i+3]))
		}
	}
	return string(out)
}
