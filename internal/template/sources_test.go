package template

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func sourcesOf(t *testing.T, list ...string) Sources {
	t.Helper()
	s, err := ParseSources(list)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSources(t *testing.T) {
	t.Parallel()
	byDefault := sourcesOf(t, strings.Split(DefaultSources, ",")...)
	some := sourcesOf(t, "/etc/templates", "https://a.example/jobs/", "s3://bucket", "https://b.example:8443")
	for _, c := range []struct {
		sources Sources
		path    string
		want    decision
	}{
		{Sources{}, "https://a.example/x", guarded},
		{Sources{}, "/x", guarded},
		{Sources{}, "s3://b/k", allowed},
		{byDefault, "https://a.example/x", guarded},
		{byDefault, "gcs://b/k", allowed},
		{byDefault, "agent:x", guarded},
		{AnySource(), "http://127.0.0.1/", allowed},
		{AnySource(), "/etc/passwd", allowed},
		{sourcesOf(t, "none"), "/x", refused},
		{sourcesOf(t, "none"), "https://a.example/x", refused},
		{sourcesOf(t, "none"), "gs://b/k", refused},
		{sourcesOf(t, "https"), "http://a.example/x", refused},
		{sourcesOf(t, "https"), "HTTPS://a.example/x", guarded},
		{sourcesOf(t, "https"), "x", refused},
		{sourcesOf(t, "gs"), "gcs://b/k", allowed},
		{sourcesOf(t, "gs"), "s3://b/k", refused},
		{some, "/etc/templates/job.yaml", allowed},
		{some, "file:///etc/templates/a/../job.yaml", allowed},
		{some, "/etc/templates/../passwd", refused},
		{some, "/etc/templates.evil/x", refused},
		{some, "etc/templates/x", refused},
		{some, "agent://etc/etc/templates/x", allowed},
		{some, "https://a.example/jobs/x.yaml", allowed},
		{some, "https://A.example/jobs/x.yaml", allowed},
		{some, "https://a.example/jobs/../x", refused},
		{some, "https://a.example/jobs/%2e%2e/x", refused},
		{some, "http://a.example/jobs/x", refused},
		{some, "https://a.example.evil/jobs/x", refused},
		{some, "https://a.example:444/jobs/x", refused},
		{some, "https://me@b.example:8443/x", allowed},
		{some, "https://b.example:8443@evil/x", refused},
		{some, "s3://bucket/k", allowed},
		{some, "s3://bucket2/k", refused},
	} {
		if got := c.sources.of(c.path); got != c.want {
			t.Errorf("%+v of %s: got %d, want %d", c.sources, c.path, got, c.want)
		}
	}
	for _, list := range [][]string{{"any", "none"}, {"none", "http"}, {"ftp"}, {"ftp://x/"}, {"templates/"}, {"https://"}, {""}} {
		if _, err := ParseSources(list); err == nil {
			t.Errorf("%q is taken", list)
		}
	}
}

func TestNear(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"127.0.0.1": true, "127.255.0.9": true, "::1": true, "::ffff:127.0.0.1": true, "::127.0.0.1": true, "64:ff9b::7f00:1": true, "2002:7f00:1::": true,
		"0.0.0.0": true, "0.1.2.3": true, "::": true, "169.254.169.254": true, "::ffff:169.254.169.254": true, "64:ff9b::a9fe:a9fe": true, "2002:a9fe:a9fe::1": true,
		"fe80::1": true, "fe80::1%eth0": true, "ff02::1": true, "224.0.0.1": true, "fd00:ec2::254": true, "100.100.100.200": true, "168.63.129.16": true,
		"10.0.0.1": false, "192.168.1.1": false, "172.16.0.1": false, "1.1.1.1": false, "fd00::1": false, "2606:4700::1111": false, "64:ff9b::101:101": false,
	} {
		if got := near(netip.MustParseAddr(text)); got != want {
			t.Errorf("near(%s) is %v", text, got)
		}
	}
	for host, want := range map[string]string{
		"2130706433": "127.0.0.1", "0x7f.1": "127.0.0.1", "0177.0.0.1": "127.0.0.1", "127.1": "127.0.0.1", "0x7f000001": "127.0.0.1", "0": "0.0.0.0",
		"169.254.43518": "169.254.169.254", "127.0.0.1.": "127.0.0.1", "::1": "::1", "a.example": "", "1.2.3.4.5": "", "4294967296": "", "1_0.1": "", "": "", "256.1": "",
	} {
		got, ok := literal(host)
		if ok != (want != "") || ok && got != netip.MustParseAddr(want) {
			t.Errorf("literal(%q) is %v, %v, want %q", host, got, ok, want)
		}
	}
	// Each address is looked at when it is connected to, so a name may have what it likes.
	if control("tcp4", "10.0.0.1:80", nil) != nil || control("tcp4", "127.0.0.1:80", nil) == nil || control("tcp6", "[fe80::1%lo]:80", nil) == nil {
		t.Error("a connection is not decided by its address")
	}
}

// Each way back to the machine is refused, with the text that an address gets which
// does not answer.
func TestNothingNearIsAsked(t *testing.T) {
	t.Parallel()
	asked := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/jobs/") {
			http.Redirect(w, r, "/secret", http.StatusFound)
			return
		}
		asked = true
	}))
	t.Cleanup(server.Close)
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
	l := New(Options{Sources: sourcesOf(t, "http", server.URL+"/jobs/")})
	t.Cleanup(l.Close)
	for _, host := range []string{
		"127.0.0.1", "localhost", "LOCALHOST", "a.localhost", "localhost.", "2130706433", "0x7f.1", "0177.1", "0.0.0.0", "0", "[::1]", "[::ffff:127.0.0.1]", "[::]",
		"127.0.0.1:" + port + "/jobs/x.yaml?", "nowhere.invalid",
	} {
		_, err := l.Read(t.Context(), "http://"+host+":"+port+"/secret")
		if err == nil || !strings.Contains(err.Error(), ": "+unreadable+"; "+elsewhere) {
			t.Errorf("%s: got %v, want one text for all", host, err)
		}
	}
	if asked {
		t.Error("the server was asked")
	}
	for _, l := range []*Loader{New(Options{Own: server.URL + "/secret"}), New(Options{Sources: sourcesOf(t, server.URL)}), New(Options{Sources: AnySource()})} {
		if _, err := l.Read(t.Context(), server.URL+"/secret"); err != nil {
			t.Errorf("what the operator named is not read: %v", err)
		}
		l.Close()
	}
}

// A file that is not allowed is not told from one that is not there.
func TestFilesOfNobody(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "job.yaml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l := New(Options{Sources: sourcesOf(t, "https"), Own: file})
	for _, path := range []string{file + "/", file + ".no", "file://" + file, "/proc/self/environ"} {
		if _, err := l.Read(t.Context(), path); err == nil || !strings.Contains(err.Error(), unreadable) {
			t.Errorf("%s: got %v", path, err)
		}
	}
	if _, err := l.Read(t.Context(), file); err != nil {
		t.Errorf("the agent's own: %v", err)
	}
}
