package template_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/template"
)

// child runs one test again, in a process with these variables.
func child(t *testing.T, name string, env ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+name+"$", "-test.count=1")
	command.Env = append(os.Environ(), env...)
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}

// bucket is a double of S3.
func bucket(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, code string) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte("<Error><Code>" + code + "</Code><Message>about " + code + "</Message></Error>"))
	}
	signed := r.Header.Get("Authorization")
	if !strings.Contains(signed, "AKID/") {
		refuse(http.StatusForbidden, "Unsigned")
		return
	}
	switch path := r.URL.Path; {
	case path == "/templates/team a/job.yaml":
		_, _ = w.Write([]byte(job))
	case strings.HasPrefix(path, "/far/") && !strings.Contains(signed, "/eu-west-1/s3/"):
		w.Header().Set("X-Amz-Bucket-Region", "eu-west-1")
		refuse(http.StatusMovedPermanently, "PermanentRedirect")
	case strings.HasPrefix(path, "/far/"):
		_, _ = w.Write([]byte(job))
	case strings.HasPrefix(path, "/near/") && !strings.Contains(signed, "/us-east-1/s3/"):
		refuse(http.StatusBadRequest, "AuthorizationHeaderMalformed") // as servers that are not AWS
	case strings.HasPrefix(path, "/near/"):
		_, _ = w.Write([]byte(job))
	case path == "/templates/large":
		_, _ = w.Write([]byte(strings.Repeat("x", 1<<20+1)))
	case path == "/templates/slow":
		<-r.Context().Done()
	case path == "/templates/key":
		refuse(http.StatusForbidden, "SignatureDoesNotMatch")
	case path == "/templates/mine":
		refuse(http.StatusForbidden, "AccessDenied")
	case path == "/templates/no":
		refuse(http.StatusNotFound, "NoSuchKey")
	default:
		refuse(http.StatusInternalServerError, "InternalError")
	}
}

func setAWS(t *testing.T, endpoint string) {
	t.Helper()
	none := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "s3cret", "AWS_SESSION_TOKEN": "", "AWS_REGION": "", "AWS_DEFAULT_REGION": "",
		"AWS_PROFILE": "", "AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1",
		"HTTP_PROXY": "", "http_proxy": "",
	} {
		t.Setenv(name, value)
	}
}

func TestReadS3(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(bucket))
	t.Cleanup(server.Close)
	setAWS(t, server.URL)
	l := template.New(template.Options{Sources: template.AnySource()})
	for _, w := range []want{
		{"s3://templates/team a/job.yaml", job, ""},
		{"S3://far/job.yaml", job, ""},
		{"s3://templates/large", "", "is larger than 1048576 bytes"},
		{"s3://templates/no?sig=s3cret", "", "S3: NoSuchKey: about NoSuchKey; check bucket and key"},
		{"s3://templates/mine", "", "S3: AccessDenied: about AccessDenied; let the agent's AWS identity do s3:GetObject there"},
		{"s3://templates/key", "", "S3: SignatureDoesNotMatch: about SignatureDoesNotMatch; check the agent's AWS credentials"},
		{"s3://templates/down", "", "S3: InternalError: about InternalError; try again later"},
		{"s3://templates", "", "names no object in a bucket; write s3://BUCKET/KEY"},
		{"s3:job.yaml", "", "names no object in a bucket"},
	} {
		w.check(t, l)
	}
}

func TestS3IsSlow(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(bucket))
	t.Cleanup(server.Close)
	setAWS(t, server.URL)
	l := template.New(template.Options{Sources: template.AnySource(), Timeout: 300 * time.Millisecond})
	want{"s3://templates/slow", "", "was not there after 300ms; check the network, and that the agent has AWS credentials"}.check(t, l)
}

func TestS3IsDown(t *testing.T) {
	setAWS(t, "http://127.0.0.1:1")
	want{"s3://templates/job.yaml", "", "S3: dial tcp 127.0.0.1:1: connect: connection refused; check the network"}.check(t, template.New(template.Options{Sources: template.AnySource()}))
}

func TestS3WithoutCredentials(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(bucket))
	t.Cleanup(server.Close)
	setAWS(t, server.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	want{"s3://templates/job.yaml", "", "S3 cannot be read: access disabled to EC2 IMDS"}.check(t, template.New(template.Options{Sources: template.AnySource()}))
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte("[default]\ncredential_process = echo s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CONFIG_FILE", file)
	want{"s3://templates/job.yaml", "", "S3 cannot be read: invalid character"}.check(t, template.New(template.Options{Sources: template.AnySource()}))
}

// The Python agent knows AWS_DEFAULT_REGION only.
func TestS3InTheRegionOfBoto(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(bucket))
	t.Cleanup(server.Close)
	setAWS(t, server.URL)
	t.Setenv("AWS_REGION", "eu-west-1")
	want{"s3://near/job.yaml", job, ""}.check(t, template.New(template.Options{Sources: template.AnySource()}))
	t.Setenv("AWS_DEFAULT_REGION", "eu-west-2")
	want{"s3://near/job.yaml", "", "AuthorizationHeaderMalformed"}.check(t, template.New(template.Options{Sources: template.AnySource()}))
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "us-east-1")
	want{"s3://near/job.yaml", job, ""}.check(t, template.New(template.Options{Sources: template.AnySource()}))
}

// objects is a double of Google Cloud Storage; authorized is what it wants to see.
func objects(authorized string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.EscapedPath(); {
		case r.URL.Path == "/token":
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"access_token":"TOKEN","token_type":"Bearer","expires_in":3600}`))
		case r.Header.Get("Authorization") != authorized:
			w.WriteHeader(http.StatusForbidden)
		case path == "/storage/v1/b/templates/o/team%2Fjob%20a.yaml" && r.URL.Query().Get("alt") == "media":
			_, _ = w.Write([]byte(job))
		case path == "/storage/v1/b/templates/o/large":
			_, _ = w.Write([]byte(strings.Repeat("x", 1<<20+1)))
		case path == "/storage/v1/b/templates/o/slow":
			<-r.Context().Done()
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}
}

func TestReadGoogle(t *testing.T) {
	server := httptest.NewServer(objects(""))
	t.Cleanup(server.Close)
	l := template.New(template.Options{Sources: template.AnySource(), Base: server.Client().Transport})
	slow := template.New(template.Options{Sources: template.AnySource(), Timeout: 300 * time.Millisecond, Base: server.Client().Transport})
	for _, host := range []string{server.URL, strings.TrimPrefix(server.URL, "http://")} {
		t.Setenv("STORAGE_EMULATOR_HOST", host)
		for _, w := range []want{
			{"gs://templates/team/job a.yaml", job, ""},
			{"gcs://templates/team/job a.yaml", job, ""},
			{"gs://templates/large", "", "is larger than 1048576 bytes"},
			{"gs://templates/no", "", "the server answers 404 Not Found; check bucket and object"},
			{"gs://templates/", "", "names no object in a bucket; write gs://BUCKET/KEY"},
		} {
			w.check(t, l)
		}
		want{"gs://templates/slow", "", "was not there after 300ms"}.check(t, slow)
	}
}

// redirected sends every request to the double.
func redirected(server *httptest.Server) roundTripper {
	return func(r *http.Request) (*http.Response, error) {
		r = r.Clone(r.Context())
		r.URL.Scheme, r.URL.Host = "http", strings.TrimPrefix(server.URL, "http://")
		return server.Client().Transport.RoundTrip(r)
	}
}

func TestGoogleCredentials(t *testing.T) {
	server := httptest.NewServer(objects("Bearer TOKEN"))
	t.Cleanup(server.Close)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	account, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "agent@example", "token_uri": "https://accounts.example/token",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "account.json")
	if err := os.WriteFile(file, account, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("STORAGE_EMULATOR_HOST", "")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
	l := template.New(template.Options{Sources: template.AnySource(), Base: redirected(server)})
	want{"gs://templates/team/job a.yaml", job, ""}.check(t, l)
	want{"gs://templates/team/job a.yaml", job, ""}.check(t, l)
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file+".no")
	want{"gs://templates/x", "", "or set GOOGLE_APPLICATION_CREDENTIALS"}.check(t, template.New(template.Options{Sources: template.AnySource()}))
}
