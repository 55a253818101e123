package config

import (
	"encoding/base64"
	"net/url"
	"strings"

	"github.com/prefect-kube/prefect-kube/internal/secret"
)

// address is where an API is, apart from what must not be shown.
type address struct {
	// text has no user name and no password.
	text string
	// user is "name:password" as Basic authorization takes it; empty if there is none.
	user string
	// bare is set when a name stands there without a password.
	bare bool
	// secrets are the texts that may be a credential, in each form in which they may come back.
	secrets []secret.Value
}

// splitAddress takes the user name and the password out of an address, so that no
// address that is held, logged or handed on has them. A text that is no address is
// passed on as it is; nobody shows it.
func splitAddress(text string) address {
	u, err := url.Parse(text)
	if err != nil {
		return address{text: text}
	}
	a := address{text: text, secrets: querySecrets(u)}
	if u.User == nil || u.Host == "" {
		return a
	}
	password, given := u.User.Password()
	a.user, a.bare = u.User.Username()+":"+password, !given
	a.secrets = append(a.secrets, userSecrets(u.User)...)
	u.User = nil
	a.text = u.String()
	return a
}

// userSecrets are the parts of user information as they are meant and as they are
// written in an address and in a header. A token may stand where the name belongs.
func userSecrets(user *url.Userinfo) []secret.Value {
	password, _ := user.Password()
	basic := base64.StdEncoding.EncodeToString([]byte(user.Username() + ":" + password))
	escapedName, escapedPassword, _ := strings.Cut(user.String(), ":")
	return secretsOf(user.Username(), password, escapedName, escapedPassword, basic)
}

// querySecrets are the values behind a question mark, such as ?apikey=TOKEN.
func querySecrets(u *url.URL) []secret.Value {
	var texts []string
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		_, raw, _ := strings.Cut(pair, "=")
		texts = append(texts, raw)
		if meant, err := url.QueryUnescape(raw); err == nil {
			texts = append(texts, meant)
		}
	}
	return secretsOf(texts...)
}

// secretsOf leaves out what is empty and what is there already.
func secretsOf(texts ...string) []secret.Value {
	var values []secret.Value
	seen := map[string]bool{"": true}
	for _, text := range texts {
		if !seen[text] {
			seen[text] = true
			values = append(values, secret.New(text))
		}
	}
	return values
}

// basic settles what a user name in an address does, as Python's requests does it
// (models.py, prepare_auth): a name with a password is sent in the place of the
// credential, a name alone is not.
func (a address) basic(credential bool) (user secret.Value, warning string) {
	switch {
	case a.user == "":
		return secret.Value{}, ""
	case !credential:
		return secret.New(a.user), ""
	case a.bare:
		return secret.Value{}, "the user name in the address of the API has no effect: it has no password, so the credential is sent; write name:password@ before the host"
	default:
		return secret.New(a.user), "the user name and the password in the address of the API are sent in the place of the credential, as Python's requests does; leave one of them out"
	}
}
