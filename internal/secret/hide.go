package secret

import (
	"regexp"
	"strings"

	"github.com/prefect-kube/prefect-kube/internal/plain"
)

// userInfo is what stands before the @ of an address, where a password may hold nearly
// everything: in quotes, alone, and without a scheme.
var userInfo = regexp.MustCompile(`("[a-zA-Z][a-zA-Z0-9+.-]*://)[^"\n/@:]*:[^"\n]*@` +
	`|([a-zA-Z][a-zA-Z0-9+.-]*://)(?:[^\s"'/@:]*:[^\s"']*|[^\s"'/@]*)@(sha[0-9]+:)?` +
	`|[^\s"'/@:=(\[]+:[^\s"'/@]+@(sha[0-9]+:)?`)

// harmless is a host with a port, when the @ comes behind.
var harmless = regexp.MustCompile(`^"?[a-zA-Z0-9+.-]+://[^/@]+:[0-9]{1,5}/`)

// token is a credential in the form of a header.
var token = regexp.MustCompile(`(?i)\b(bearer|basic) +[a-z0-9._~+/-]{16,}=*`)

// parameter is a credential behind a question mark, by its name.
var parameter = regexp.MustCompile(`(?i)([?&][a-z0-9_.-]*(?:key|token|secret|password|passwd|signature|credential|sig)=)[^\s&"'#]+`)

// Hide is a text without secrets.
func (s *Set) Hide(text string) string {
	text = s.Known(text)
	if strings.Contains(text, "@") {
		text = hideUserInfo(text)
	}
	if strings.Contains(text, " ") {
		text = token.ReplaceAllString(text, "$1 "+redacted)
	}
	if strings.ContainsAny(text, "?&") {
		text = parameter.ReplaceAllString(text, "$1"+redacted)
	}
	return text
}

// Line is a text without secrets that plain.Line has made fit to be shown.
func (s *Set) Line(text string, most int) string {
	return plain.Line(s.Hide(bounded(text, most)), most)
}

// Text is the same for a text of several lines.
func (s *Set) Text(text string, most int) string {
	return plain.Text(s.Hide(bounded(text, most)), most)
}

// bounded keeps much more than will be shown, since what is hidden makes a text
// shorter, and spares looking through the rest.
func bounded(text string, most int) string {
	if keep := 4*most + 4096; len(text) > keep {
		return text[:keep] + cutMark
	}
	return text
}

// Error is an error without secrets in its text. What it wraps stays.
func (s *Set) Error(err error) error {
	if err == nil {
		return nil
	}
	if text := err.Error(); s.Hide(text) == text {
		return err
	}
	return &hiding{set: s, err: err}
}

type hiding struct {
	set *Set
	err error
}

func (e *hiding) Error() string { return e.set.Hide(e.err.Error()) }
func (e *hiding) Unwrap() error { return e.err }

func hideUserInfo(text string) string {
	return userInfo.ReplaceAllStringFunc(text, func(found string) string {
		parts := userInfo.FindStringSubmatch(found)
		if digest := parts[3] + parts[4]; digest != "" || harmless.MatchString(found) {
			return found
		}
		return parts[1] + parts[2] + redacted + "@"
	})
}

// Known is a text without the secrets that the Set knows. What only looks like one
// stays.
func (s *Set) Known(text string) string {
	if s == nil {
		return text
	}
	s.mu.RLock()
	w := s.written
	s.mu.RUnlock()
	if w == nil {
		return text
	}
	return w.hideHalves(w.replacer.Replace(text))
}

// cutMark ends a text that was cut.
const cutMark = "…"

// hideHalves hides the beginning of a secret where a text was cut in its middle.
func (w *written) hideHalves(text string) string {
	for _, mark := range []string{cutMark, "..."} {
		parts := strings.Split(text, mark)
		for i := range parts[:len(parts)-1] {
			parts[i] = w.hideHalf(parts[i])
		}
		text = strings.Join(parts, mark)
	}
	return text
}

func (w *written) hideHalf(text string) string {
	for at := max(len(text)-w.longest, 0); at+shortest <= len(text); at++ {
		for _, form := range w.starts[text[at:at+shortest]] {
			if strings.HasPrefix(form, text[at:]) {
				return text[:at] + redacted
			}
		}
	}
	return text
}
