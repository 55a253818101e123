package template_test

import (
	"crypto/x509"
	"encoding/pem"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/template"
)

// startTLS starts a server whose authority nobody knows, and says nothing of clients
// that turn away.
func startTLS(t *testing.T, answer http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(answer)
	server.Config.ErrorLog = log.New(t.Output(), "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

func TestRoots(t *testing.T) {
	web, store, google := startTLS(t, pages), startTLS(t, bucket), startTLS(t, objects(""))
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate()) // all of them have the same
	setAWS(t, store.URL)
	t.Setenv("AWS_CA_BUNDLE", "")
	t.Setenv("STORAGE_EMULATOR_HOST", google.URL)
	for _, path := range []string{web.URL + "/job.yaml", "s3://templates/team a/job.yaml", "gs://templates/team/job a.yaml"} {
		stranger, friend := template.New(template.Options{Sources: template.AnySource()}), template.New(template.Options{Sources: template.AnySource(), Roots: roots})
		want{path, "", "x509: certificate signed by unknown authority; name a file with the authority's certificate in REQUESTS_CA_BUNDLE"}.check(t, stranger)
		if _, err := stranger.Read(t.Context(), path); temporary(err) {
			t.Errorf("%s: %v is temporary, want it to stay", path, err)
		}
		want{path, job, ""}.check(t, friend)
		stranger.Close()
		friend.Close()
	}
}

// An authority of S3 alone is trusted beside the others, and only there.
func TestRootsOfAWS(t *testing.T) {
	web, store := startTLS(t, pages), startTLS(t, bucket)
	setAWS(t, store.URL)
	bundle := filepath.Join(t.TempDir(), "aws.pem")
	if err := os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: store.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CA_BUNDLE", bundle)
	for _, roots := range []*x509.CertPool{nil, x509.NewCertPool()} {
		l := template.New(template.Options{Sources: template.AnySource(), Roots: roots})
		want{"s3://templates/team a/job.yaml", job, ""}.check(t, l)
		want{web.URL + "/job.yaml", "", "unknown authority"}.check(t, l)
		l.Close()
	}
}
