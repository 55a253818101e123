package config

import (
	"errors"
	"slices"
	"strings"

	"github.com/prefect-kube/prefect-kube/internal/plain"
	"github.com/prefect-kube/prefect-kube/internal/secret"
)

// found is a credential and where it stands.
type found struct {
	secret.Value
	place string
	token bool
}

// login settles which credential counts. What is not used although it was set is a warning.
func (d *agentDraft) login(a *Agent) error {
	candidates, err := d.candidates(a)
	i := slices.IndexFunc(candidates, func(c found) bool { return c.IsSet() })
	if i < 0 {
		return err
	}
	used := candidates[i]
	a.Credential, d.origin.Credential = used.Value, used.place
	a.CredentialByFlag = strings.HasPrefix(used.place, "--")
	a.Token = used.token && a.CoreVersion == Core1
	if a.Token && a.TenantID != "" {
		a.TenantID = ""
		a.Warnings = append(a.Warnings, "the tenant id has no effect: "+used.place+" is an API token, which belongs to one tenant")
	}
	// The manifest of 0.15 and later sets both variables, so only a flag is worth a word.
	for _, c := range candidates[i+1:] {
		if c.IsSet() && strings.HasPrefix(c.place, "--") {
			a.Warnings = append(a.Warnings, plain.Line(c.place+" has no effect: "+used.place+" is used", maxLine))
		}
	}
	return err
}

// candidates are the credentials of a form of the command; the first that is set counts.
func (d *agentDraft) candidates(a *Agent) ([]found, error) {
	key := found{d.apiKey, d.placeOf("cloud", "api_key"), false}
	token := found{d.agentToken, d.placeOf("cloud", "agent", "auth_token"), true}
	other := found{d.otherToken, d.placeOf("cloud", "auth_token"), true}
	if a.Backend != Cloud {
		// D-10: the code of 0.11.0 refuses the fallback where a credential is needed.
		// A server needs none, and its Jobs must not get one either.
		other = found{}
		if a.CoreVersion == Core0 {
			key = found{}
		}
	}
	if d.homeDir == "" { // the resource manager reads no login
		return []found{key, token, other}, nil
	}
	stored, err := d.stored(a)
	if a.CoreVersion == Core0 {
		return []found{token, other, stored, key}, err
	}
	// client/client.py of 0.15.13: a key beats a token, also one of auth.toml, which by
	// itself loses to a key that is configured. 1.0 and later have no tokens.
	disk, errDisk := readAuth(d.homeDir, a.API)
	if a.TenantID == "" {
		a.TenantID = disk.tenantID
	}
	login := found{secret.New(disk.apiKey), disk.path, false}
	return []found{key, login, token, other, stored}, errors.Join(errDisk, err)
}

// stored is the token of "prefect auth login" of Prefect 0.x, the last resort on Cloud.
func (d *agentDraft) stored(a *Agent) (found, error) {
	if a.Backend != Cloud {
		return found{}, nil
	}
	login, err := readLogin(d.homeDir, loginAddresses(a))
	if login.token != "" && login.tenantID != "" && !d.agentToken.IsSet() && !d.otherToken.IsSet() {
		a.Warnings = append(a.Warnings, login.path+": active_tenant_id has no effect: an agent needs a token with RUNNER scope, which belongs to one tenant; \"prefect auth login\" stores one with USER scope")
	}
	return found{secret.New(login.token), login.path, true}, err
}

// loginAddresses are those under which the clients of Prefect 0.x look for a login:
// cloud.graphql with /graphql/alpha in 0.11 and /graphql in 0.12, cloud.api since 0.13.
func loginAddresses(a *Agent) []string {
	switch {
	case a.CoreVersion == Core1:
		return []string{a.API}
	case a.GraphQL != "":
		return []string{a.GraphQL}
	default:
		return []string{a.API + "/graphql/alpha", a.API + "/graphql", a.API}
	}
}

// placeOf is where a credential of the configuration stands.
func (d *agentDraft) placeOf(path ...string) string { return d.sources.credentials[joined(path)] }
