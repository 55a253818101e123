package secret_test

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"html"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/secret"
)

// hostile has what each way of writing writes differently.
const hostile = `CANARY/p+"&é <w>`

func TestHide(t *testing.T) {
	t.Parallel()
	s := secret.NewSet(secret.New(text), secret.New(hostile), secret.New("pw"), secret.New("prefect"))
	for _, address := range []string{
		"http://TOKENASNAME@host", "https://svc:PASSWORDA@proxy:3128", "u:PASSWORDB@host:4200/graphql", "http://host/?apikey=INTHEQUERY&x=AND%2FANOTHER",
		"http://user:PASS WORDC@host:x", "https://u:PASS%2fWORDD@host",
		"prefecthq/prefect@sha256:ab", "host:5000/team/image:1.4.1@sha256:ab", "docker://host/team/flows@sha256:ab", "airflow@mail.example",
	} {
		s.AddAddress(address)
	}
	for given, want := range map[string]string{
		"key " + text + ", again " + text:                              "key [redacted], again [redacted]",
		"x" + text + "x":                                               "x[redacted]x",
		fmt.Sprintf("%q", hostile):                                     `"[redacted]"`,
		`{"key":"CANARY/p+\"\u0026é \u003cw\u003e"}`:                   `{"key":"[redacted]"}`,
		"a=" + url.QueryEscape(hostile):                                "a=[redacted]",
		"a=" + strings.ToLower("%2F") + "b":                            "a=%2fb",
		"/" + url.PathEscape(hostile):                                  "/[redacted]",
		"basic " + base64.StdEncoding.EncodeToString([]byte(hostile)):  "basic [redacted]",
		"TOKENASNAME PASSWORDA PASSWORDB INTHEQUERY AND/ANOTHER":       "[redacted] [redacted] [redacted] [redacted] [redacted]",
		base64.StdEncoding.EncodeToString([]byte("svc:PASSWORDA")):     "[redacted]",
		"PASS WORDC and PASS/WORDD and PASS%2FWORDD and PASS%2fWORDD":  "[redacted] and [redacted] and [redacted] and [redacted]",
		"answer: hunter2-hun…; and hunter2...":                         "answer: [redacted]…; and [redacted]...",
		"a short pw and a password of our words: prefect":              "a short pw and a password of our words: prefect",
		"https://x:pw@host, ftp://prefect@host":                        "https://[redacted]@host, ftp://[redacted]@host",
		`parse "http://u:an other/@x@host:y": invalid port`:            `parse "http://[redacted]@host:y": invalid port`,
		"u:unknown@host:4200 is not an address":                        "[redacted]@host:4200 is not an address",
		"https://host:8080/flow@v1.yaml and git@github.com:o/r":        "https://host:8080/flow@v1.yaml and git@github.com:o/r",
		"pull docker://r/i:1@sha256:ab, nginx:1.2@sha256:cd":           "pull docker://r/i:1@sha256:ab, nginx:1.2@sha256:cd",
		"Authorization: Bearer eyJhbGciOi.J9eyJ.zdWIiOi":               "Authorization: Bearer [redacted]",
		"basic authentication failed":                                  "basic authentication failed",
		"https://h/t?X-Amz-Signature=abc&x=1&api_key=z labels a=b&c=d": "https://h/t?X-Amz-Signature=[redacted]&x=1&api_key=[redacted] labels a=b&c=d",
		"image prefecthq/prefect of host:5000/team/image for airflow":  "image prefecthq/prefect of host:5000/team/image for airflow",
		"hex " + hex.EncodeToString([]byte(text)):                      "hex [redacted]",
		fmt.Sprintf("HEX %X", text):                                    "HEX [redacted]",
		"a=" + html.EscapeString(hostile):                              "a=[redacted]",
		"":                                                             "",
	} {
		if got := s.Hide(given); got != want {
			t.Errorf("%s\ngives %s\nwant  %s", given, got, want)
		}
	}
	if got := (*secret.Set)(nil).Hide("http://u:p@h " + text); got != "http://[redacted]@h "+text {
		t.Errorf("a nil set gives %q", got)
	}
}

// A server may quote a whole header, or a body with it, in base64.
func TestHideInsideOfBase64(t *testing.T) {
	t.Parallel()
	const key = "canary>>key??and~~more"
	s := secret.NewSet(secret.New(key))
	for before := range 7 {
		whole := strings.Repeat("B", before) + key + " behind"
		for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			got := s.Hide(encoding.EncodeToString([]byte(whole)))
			start, end, found := strings.Cut(got, "[redacted]")
			if !found || len(start) > before*4/3+2 || len(end) > 14 {
				t.Errorf("%d bytes before it: got %s", before, got)
			}
		}
	}
}

func TestLineHidesBeforeItCuts(t *testing.T) {
	t.Parallel()
	s := secret.NewSet(secret.New(text))
	long := "ab\x1b\n" + strings.Repeat(text, 1<<16)
	if got, want := s.Line(long, 30), "ab� [redacted][redacted][…"; got != want {
		t.Errorf("Line gives %q, want %q", got, want)
	}
	if got, want := s.Text(long, 30), "ab�\n[redacted][redacted][…"; got != want {
		t.Errorf("Text gives %q, want %q", got, want)
	}
}

func TestError(t *testing.T) {
	t.Parallel()
	s := secret.NewSet(secret.New(text))
	err := s.Error(fmt.Errorf("with %s: %w", text, fs.ErrNotExist))
	if err.Error() != "with [redacted]: file does not exist" || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if s.Error(nil) != nil || !errors.Is(s.Error(fs.ErrExist), fs.ErrExist) {
		t.Error("nil or a harmless error is changed")
	}
}

// What a file held is as secret as what it holds.
func TestSetFollowsFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	v := secret.File(path)
	s := secret.NewSet(v)
	for _, content := range []string{"FIRSTKEY", "SECONDKEY", "THIRDKEY"} {
		if err := os.WriteFile(path, []byte(content+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Reveal(); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Hide("FIRSTKEY SECONDKEY THIRDKEY"); got != "[redacted] [redacted] [redacted]" {
		t.Errorf("got %q", got)
	}
}

type answering func(*http.Request)

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	a(r)
	return nil, fs.ErrClosed
}

// A server can repeat a credential only after it was sent, so each is known by then.
func TestTransportLearns(t *testing.T) {
	t.Parallel()
	s := secret.NewSet()
	send := func(set func(*http.Request)) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x/?limit=500000", nil)
		if err != nil {
			t.Fatal(err)
		}
		set(req)
		resp, err := s.Transport(answering(func(r *http.Request) {
			authorization := r.Header.Get("Authorization")
			_, sent, _ := strings.Cut(authorization, " ")
			if got := s.Hide("you sent " + sent); got != "you sent [redacted]" {
				t.Errorf("got %q", got)
			}
		})).RoundTrip(req) //nolint:bodyclose // there is none
		if resp != nil || !errors.Is(err, fs.ErrClosed) {
			t.Errorf("got %v, %v", resp, err)
		}
	}
	for i := range 120 {
		send(func(r *http.Request) { r.Header.Set("Authorization", fmt.Sprintf("Bearer token-%d-of-many", i)) })
		send(func(r *http.Request) { r.SetBasicAuth("operator", "THEPASSWORD") })
	}
	if got := s.Hide("operator THEPASSWORD token-119-of-many token-0-of-many 500000"); got != "[redacted] [redacted] [redacted] token-0-of-many 500000" {
		t.Errorf("got %q", got)
	}
	if got := fmt.Sprintf("%v %+v %#v %s %x", s, s, s, s, s); strings.Contains(got, "THEPASS") || strings.Contains(got, "54484550") {
		t.Errorf("a set prints %q", got)
	}
}

func FuzzHide(f *testing.F) {
	f.Add("a "+text+" b", text)
	f.Add("http://u:p@h…", "u:p@h-and-more")
	f.Fuzz(func(t *testing.T, given, hidden string) {
		got := secret.NewSet(secret.New(hidden)).Hide(given + hidden + given)
		if len(hidden) > 10 && !strings.Contains("[redacted]"+given+"[redacted]"+given, hidden) && strings.Contains(got, hidden) {
			t.Errorf("%q shows %q in %q", given, hidden, got)
		}
	})
}
