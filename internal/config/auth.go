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
	apiKey, tenantID string
}

var notSlug = regexp.MustCompile(`[^-.a-z0-9]+`)

// slug is the table of an API in auth.toml: the host and port of its address
// with a dash for every run of other characters (client.py of 1.4.1).
func slug(api string) string {
	u, err := url.Parse(api)
	if err != nil {
		return ""
	}
	return strings.Trim(notSlug.ReplaceAllString(strings.ToLower(u.Host), "-"), "-")
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
		return diskAuth{}, &Error{Place: path + ": " + slug(api), Problem: "want texts for api_key and tenant_id"}
	}
	return diskAuth{apiKey: key, tenantID: tenant}, nil
}
