package config

import (
	"errors"
	"io/fs"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
)

// diskAuth is what "prefect auth login" stored for one API.
type diskAuth struct {
	path, apiKey, tenantID string
}

var notSlug = regexp.MustCompile(`[^-.a-z0-9]+`)

// diskLogin is what "prefect auth login" of Prefect 0.x stored for one server.
type diskLogin struct {
	path, token, tenantID string
}

// readLogin reads client/<slug of the server>/settings.toml for the first of the
// addresses that has one. The agent of 0.11.0 reads it too, and then refuses what it
// found (D-10).
func readLogin(homeDir string, addresses []string) (diskLogin, error) {
	for _, address := range addresses {
		name := slugOf(address)
		if len(name) > maxName {
			continue // no file system has it
		}
		path := filepath.Join(homeDir, "client", name, "settings.toml")
		tree, err := readTOML(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return diskLogin{}, err
		}
		return loginOf(path, tree)
	}
	return diskLogin{}, nil
}

func loginOf(path string, tree map[string]any) (diskLogin, error) {
	token, errToken := textOf(tree["api_token"])
	tenant, errTenant := textOf(tree["active_tenant_id"])
	if err := errors.Join(errToken, errTenant); err != nil {
		return diskLogin{}, &Error{Place: path, Problem: "want texts for api_token and active_tenant_id", Mend: "type \"prefect auth login\" again, or delete the file"}
	}
	return diskLogin{path: path, token: token, tenantID: tenant}, nil
}

// maxName is the longest name of a file, in bytes.
const maxName = 255

// slugOf is python-slugify with the pattern of client.py: a dash for every run of
// other characters.
func slugOf(text string) string {
	return strings.Trim(notSlug.ReplaceAllString(strings.ToLower(text), "-"), "-")
}

// slug is the table of an API in auth.toml: the host and port of its address
// with a dash for every run of other characters (client.py of 1.4.1).
func slug(api string) string {
	u, err := url.Parse(api)
	if err != nil {
		return ""
	}
	return slugOf(u.Host)
}

// readAuth reads auth.toml. A file that is not there is as good as an empty one.
func readAuth(homeDir, api string) (diskAuth, error) {
	path := filepath.Join(homeDir, "auth.toml")
	tree, err := readTOML(path)
	if errors.Is(err, fs.ErrNotExist) {
		return diskAuth{}, nil
	}
	if err != nil {
		return diskAuth{}, err
	}
	table, _ := tree[slug(api)].(map[string]any)
	key, errKey := textOf(table["api_key"])
	tenant, errTenant := textOf(table["tenant_id"])
	if err := errors.Join(errKey, errTenant); err != nil {
		return diskAuth{}, &Error{Place: path + ": " + slug(api), Problem: "want texts for api_key and tenant_id", Mend: "type \"prefect auth login\" again, or delete the file"}
	}
	return diskAuth{path: path, apiKey: key, tenantID: tenant}, nil
}
