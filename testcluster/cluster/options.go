package cluster

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
)

// Nodes is the kind of node a cluster gets.
type Nodes string

// The kinds of node. Auto becomes Real for root on Linux when the node's programs can be had, else Simulated. None is an API
// server with nobody behind it: no controller makes Pods of Jobs, which is what a benchmark of creates wants.
const (
	Auto      Nodes = "auto"
	Real      Nodes = "real"
	Simulated Nodes = "simulated"
	None      Nodes = "none"
)

// ParseNodes reads the value of a --nodes flag.
func ParseNodes(text string) (Nodes, error) {
	switch kind := Nodes(text); kind {
	case Auto, Real, Simulated, None:
		return kind, nil
	default:
		return "", fmt.Errorf("nodes %q: use real, simulated, none or auto", text)
	}
}

// Options say which cluster is meant and how it is to be started.
type Options struct {
	// Name tells clusters on one machine apart; empty means DefaultName.
	Name string
	// Nodes is the kind of node; empty means Auto.
	Nodes Nodes
	// Audit writes every API request to a log file.
	Audit bool
	// Cache is the folder for binaries, images and clusters; empty means DefaultCache.
	Cache string
	// Out receives one line per step. Nil means silence.
	Out io.Writer
}

// DefaultName is the cluster of `make demo` and of the end-to-end tests.
const DefaultName = "prefect-kube"

// CacheVariable is the environment variable that moves the cache.
const CacheVariable = "PREFECT_KUBE_CACHE"

// maxDir leaves room below 108 bytes, the limit of a Unix socket's path, for the longest socket under a cluster, the
// kubelet's pod-resources/kubelet.sock.
const maxDir = 70

var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,29}[a-z0-9])?$`)

// DefaultCache is $PREFECT_KUBE_CACHE, else prefect-kube in the user's cache folder.
func DefaultCache() (string, error) {
	if folder := os.Getenv(CacheVariable); folder != "" {
		return filepath.Abs(folder)
	}
	folder, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder (set %s): %w", CacheVariable, err)
	}
	return filepath.Join(folder, "prefect-kube"), nil
}

// complete fills the defaults in and refuses what cannot work.
func (o Options) complete() (Options, error) {
	if o.Name == "" {
		o.Name = DefaultName
	}
	if o.Nodes == "" {
		o.Nodes = Auto
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	if !validName.MatchString(o.Name) {
		return o, fmt.Errorf("cluster name %q: use up to 31 lower-case letters, digits and dashes", o.Name)
	}
	if o.Cache == "" {
		cache, err := DefaultCache()
		if err != nil {
			return o, err
		}
		o.Cache = cache
	}
	if dir := o.dir(); len(dir) > maxDir {
		return o, fmt.Errorf("cluster folder %s is %d bytes long, sockets below it allow %d: set %s to a shorter path",
			dir, len(dir), maxDir, CacheVariable)
	}
	return o, nil
}

func (o Options) clusters() string { return filepath.Join(o.Cache, "clusters") }

func (o Options) dir() string { return filepath.Join(o.clusters(), o.Name) }

func (o Options) say(format string, args ...any) {
	_, _ = fmt.Fprintf(o.Out, format+"\n", args...) // progress only
}
