package kube

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Login is how a process shows the API server who it is: the user's entry of a
// kubeconfig, or the service account of a pod.
type Login struct {
	user clientcmdapi.AuthInfo
	// where names the entry, with its context and file.
	where string
	// pod says that it is the service account of the pod.
	pod bool
}

// LoginError is a login that the API server did not take, or that could not be tried.
type LoginError struct {
	// Problem says which login it is and what is wrong, Mend what to do about it.
	Problem, Mend string
	Err           error
}

func (e *LoginError) Error() string { return e.Problem }

// Unwrap gives the cause, nil if it was found by looking.
func (e *LoginError) Unwrap() error { return e.Err }

// loginOf is the login of the current context, nil where it names no entry that is there.
func loginOf(raw clientcmdapi.Config) *Login {
	current, ok := raw.Contexts[raw.CurrentContext]
	if !ok {
		return nil
	}
	user, ok := raw.AuthInfos[current.AuthInfo]
	if !ok {
		return nil
	}
	where := fmt.Sprintf("of user %q (context %q, %s)", current.AuthInfo, raw.CurrentContext, cmp.Or(user.LocationOfOrigin, "kubeconfig"))
	return &Login{user: *user, where: where}
}

// way names what is sent, in the order in which client-go looks for it.
func (l *Login) way() string {
	switch u := l.user; {
	case l.pod:
		return "the token of the pod's service account"
	case u.Token != "":
		return "the token"
	case u.TokenFile != "":
		return "the token in " + u.TokenFile
	case u.Username != "" || u.Password != "":
		return "the user name and password"
	case u.ClientCertificate != "" || len(u.ClientCertificateData) > 0:
		return "the client certificate"
	case u.Exec != nil:
		return plugin(u.Exec)
	case u.AuthProvider != nil:
		return provider(u.AuthProvider)
	}
	return ""
}

func plugin(e *clientcmdapi.ExecConfig) string { return fmt.Sprintf("the exec plugin %q", e.Command) }

func provider(p *clientcmdapi.AuthProviderConfig) string {
	return fmt.Sprintf("the auth-provider %q", p.Name)
}

// waits reports whether somebody else is asked for the credential: a program, or an
// identity provider.
func (l *Login) waits() bool {
	return l != nil && (l.user.Exec != nil || l.user.AuthProvider != nil)
}

// name is the login in a sentence.
func (l *Login) name() string { return strings.TrimSpace(l.way() + " " + l.where) }

// explain adds to a refusal what may be done about this login.
func (l *Login) explain(err error) error {
	switch {
	case l == nil:
	case apierrors.IsUnauthorized(err):
		return &LoginError{Problem: err.Error(), Mend: l.refused(), Err: err}
	case l.user.Impersonate != "" && apierrors.IsForbidden(err) && strings.Contains(err.Error(), "cannot impersonate"):
		return &LoginError{Problem: err.Error(), Err: err, Mend: fmt.Sprintf("Grant the verb impersonate on %q to %s, or remove the keys as, as-groups and as-user-extra from its entry",
			l.user.Impersonate, l.name())}
	}
	return err
}

// refused is the mend where the API server does not take the login.
func (l *Login) refused() string {
	if l.way() == "" {
		return "There is no credential in the entry " + l.where + ": " + l.renewal()
	}
	return "The API server does not take " + l.name() + ": " + l.renewal()
}

// failed is a login that gave no credential.
func (l *Login) failed(err error) error {
	mend := l.renewal()
	switch e := l.user.Exec; {
	case e == nil:
	case strings.Contains(err.Error(), execGroup+"v1alpha"):
		mend = fmt.Sprintf("install a newer release of it, which answers in %s, and %s", strings.TrimPrefix(e.APIVersion, execGroup), mend)
	default:
		mend = fmt.Sprintf("run it by hand to see why: %s; or %s", commandLine(e), mend)
	}
	return &LoginError{Problem: fmt.Sprintf("%s gives no credential: %v", l.name(), err), Mend: mend, Err: err}
}

// late is a login that has given none yet.
func (l *Login) late(err error) error {
	mend := "see whether its issuer answers"
	if e := l.user.Exec; e != nil {
		mend = fmt.Sprintf("run it by hand to see what it waits for: %s; end the process that waits, and the agent starts it again", commandLine(e))
	}
	return &LoginError{Problem: l.name() + " has not given a credential in time", Mend: mend, Err: err}
}

// commandLine is how what a person types begins. The first option and what follows may
// hold a secret, as with kubectl oidc-login, and so may its variables.
func commandLine(e *clientcmdapi.ExecConfig) string {
	words := []string{e.Command}
	for _, arg := range e.Args {
		if strings.HasPrefix(arg, "-") {
			words = append(words, "…")
			break
		}
		words = append(words, arg)
	}
	return strings.Join(words, " ")
}

// renewal says how to get another credential.
func (l *Login) renewal() string {
	switch u := l.user; {
	case l.pod:
		return "see whether its service account still exists, and start the pod again"
	case u.Token != "" || u.TokenFile != "":
		return "put a new token there"
	case u.Username != "" || u.Password != "":
		return "Kubernetes takes neither since 1.19: put a token or a client certificate there"
	case u.ClientCertificate != "" || len(u.ClientCertificateData) > 0:
		return "put a new certificate with its key there, or renew the entry as those do who run the cluster"
	case u.Exec != nil:
		return ofPlugin(u.Exec)
	case u.AuthProvider != nil:
		return ofProvider(u.AuthProvider.Name)
	}
	return "renew the entry as those do who run the cluster"
}

const (
	renewGoogle = "renew the entry with gcloud container clusters get-credentials CLUSTER"
	renewAzure  = "renew the entry with az aks get-credentials --resource-group GROUP --name CLUSTER --overwrite-existing, and then kubelogin convert-kubeconfig"
	renewOIDC   = "log in again at the issuer, and put the new id-token and refresh-token there, or use the exec plugin kubectl oidc-login"
)

// ofPlugin knows the tools that write entries with exec plugins.
func ofPlugin(e *clientcmdapi.ExecConfig) string {
	oidc := slices.ContainsFunc(e.Args, func(arg string) bool { return strings.Contains(arg, "oidc") })
	switch tool := strings.TrimSuffix(filepath.Base(e.Command), ".exe"); {
	case oidc:
		return "log in again at the issuer, or renew the entry with kubectl oidc-login setup"
	case tool == "aws" || strings.HasSuffix(tool, "-authenticator") || tool == "heptio-authenticator-aws":
		return "renew the entry with aws eks update-kubeconfig --name CLUSTER"
	case tool == "gke-gcloud-auth-plugin" || tool == "gcloud":
		return renewGoogle
	case tool == "kubelogin" || tool == "az":
		return renewAzure
	case tool == "doctl":
		return "renew the entry with doctl kubernetes cluster kubeconfig save CLUSTER"
	case tool == "oci":
		return "renew the entry with oci ce cluster create-kubeconfig --cluster-id CLUSTER"
	case tool == "tsh":
		return "renew the entry with tsh kube login CLUSTER"
	case tool == "yc":
		return "renew the entry with yc managed-kubernetes cluster get-credentials CLUSTER --external"
	}
	return "renew the entry as those do who run the cluster"
}

// ofProvider knows what took the place of each auth-provider.
func ofProvider(name string) string {
	switch name {
	case "gcp":
		return "install gke-gcloud-auth-plugin, and " + renewGoogle
	case "azure":
		return renewAzure
	case "openstack":
		return "use the exec plugin client-keystone-auth in its place"
	case "oidc":
		return renewOIDC
	}
	return "use an exec plugin in its place"
}
