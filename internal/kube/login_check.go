package kube

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/term"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/prefect-kube/prefect-kube/internal/plain"
	"github.com/prefect-kube/prefect-kube/internal/regular"
)

// fault is one reason why a login cannot be tried.
type fault struct{ reason, mend string }

// check looks for what keeps a login from being tried at all. The error names all of it
// and is a *LoginError.
func (l *Login) check() error {
	if l == nil || l.pod {
		return nil
	}
	way, faults := l.way(), append(faultsOfToken(l.user), faultsOfCertificate(l.user)...)
	if e := l.user.Exec; e != nil {
		way, faults = plugin(e), append(faults, faultsOfPlugin(e)...)
	}
	if p := l.user.AuthProvider; p != nil {
		way, faults = provider(p), append(faults, faultsOfProvider(p)...)
	}
	if len(faults) == 0 {
		return nil
	}
	var reasons, mends []string
	for _, f := range faults {
		reasons, mends = append(reasons, f.reason), append(mends, f.mend)
	}
	return &LoginError{Problem: fmt.Sprintf("%s %s cannot be used: %s", way, l.where, strings.Join(reasons, "; ")), Mend: strings.Join(mends, "; ")}
}

// Versions of the exec protocol, which is the same in all of them.
const (
	execGroup   = "client.authentication.k8s.io/"
	execV1      = execGroup + "v1"
	execV1Beta1 = execGroup + "v1beta1"
)

// longestHint bounds what is shown of a kubeconfig's own hint, in bytes.
const longestHint = 512

func faultsOfPlugin(e *clientcmdapi.ExecConfig) (faults []fault) {
	switch e.APIVersion {
	case execV1, execV1Beta1:
		if e.InteractiveMode == "" {
			faults = append(faults, fault{"its interactiveMode is missing", "set interactiveMode: IfAvailable in the entry"})
		}
	default:
		faults = append(faults, fault{
			fmt.Sprintf("Kubernetes clients know its apiVersion %q no more", e.APIVersion),
			fmt.Sprintf("%s, or set apiVersion: %s in it", ofPlugin(e), execV1Beta1),
		})
	}
	if _, err := exec.LookPath(e.Command); err != nil && e.Command != "" {
		mend := "install it where the agent runs, or use a service account; the image of the agent has no such program"
		if e.InstallHint != "" {
			mend += " (" + plain.Line(e.InstallHint, longestHint) + ")"
		}
		faults = append(faults, fault{"there is no such program: " + err.Error(), mend})
	}
	if e.InteractiveMode == clientcmdapi.AlwaysExecInteractiveMode && !term.IsTerminal(int(os.Stdin.Fd())) {
		faults = append(faults, fault{
			"it wants to ask somebody (interactiveMode: Always), and standard input is no terminal",
			"start the agent in a terminal, or set interactiveMode: IfAvailable in the entry if the plugin can do without",
		})
	}
	return faults
}

func faultsOfProvider(p *clientcmdapi.AuthProviderConfig) (faults []fault) {
	if p.Name != "oidc" {
		return []fault{{"Kubernetes clients have no such login any more", ofProvider(p.Name)}}
	}
	for _, key := range []string{"idp-issuer-url", "client-id"} {
		if p.Config[key] == "" {
			faults = append(faults, fault{"its " + key + " is missing", "write " + key + " into the entry's config"})
		}
	}
	return faults
}

func faultsOfToken(u clientcmdapi.AuthInfo) []fault {
	if u.Token != "" || u.TokenFile == "" {
		return nil
	}
	text, err := regular.Read(u.TokenFile, maxFile)
	switch {
	case err != nil:
		return []fault{{err.Error(), "put a token there, or correct tokenFile in the entry"}}
	case strings.TrimSpace(string(text)) == "":
		return []fault{{"the file is empty", "put a token there"}}
	}
	return nil
}

func faultsOfCertificate(u clientcmdapi.AuthInfo) []fault {
	if u.ClientCertificate == "" && len(u.ClientCertificateData) == 0 {
		return nil
	}
	const mend = "correct client-certificate and client-key in the entry"
	certificate, err := dataOr(u.ClientCertificateData, u.ClientCertificate)
	if err != nil {
		return []fault{{err.Error(), mend}}
	}
	key, err := dataOr(u.ClientKeyData, u.ClientKey)
	if err != nil {
		return []fault{{err.Error(), mend}}
	}
	if _, err := tls.X509KeyPair(certificate, key); err != nil {
		return []fault{{err.Error(), mend}}
	}
	return nil
}

// dataOr is what an entry holds, or the file that it names.
func dataOr(data []byte, file string) ([]byte, error) {
	if len(data) > 0 || file == "" {
		return data, nil
	}
	return regular.Read(file, maxFile)
}

// Caution is something about a login that does not keep it from being tried.
type Caution struct{ What, Mend string }

// Cautions are what is odd about how the cluster is reached.
func (c *Config) Cautions() []Caution {
	l := c.Login
	if l == nil || l.pod {
		return nil
	}
	var all []Caution
	if end, ok := l.expired(time.Now()); ok {
		all = append(all, Caution{fmt.Sprintf("the client certificate %s ended on %s", l.where, end.UTC().Format(time.DateOnly)), l.renewal()})
	}
	// clientcmd leaves out the login where the server has no TLS (client_config.go).
	if _, plain := c.Plain(); plain && l.way() != "" {
		all = append(all, Caution{l.name() + " is not sent, since the server of the context is reached without TLS", "write its server with https://, or remove the user from the context"})
	}
	return all
}

// expired is when the client certificate ended, if it has.
func (l *Login) expired(now time.Time) (time.Time, bool) {
	data, err := dataOr(l.user.ClientCertificateData, l.user.ClientCertificate)
	if err != nil {
		return time.Time{}, false
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return time.Time{}, false
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil || now.Before(certificate.NotAfter) {
		return time.Time{}, false
	}
	return certificate.NotAfter, true
}
