package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// Open returns a cluster that Up has started, without asking whether it is healthy.
func Open(o Options) (*Cluster, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	l, err := load(o.dir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no cluster %q: start it with up", o.Name)
	}
	return &Cluster{l}, err
}

// Kubeconfig returns the path of the kubeconfig of a cluster that Up has started.
func Kubeconfig(o Options) (string, error) {
	c, err := Open(o)
	if err != nil {
		return "", err
	}
	return c.Kubeconfig(), nil
}

// Logs writes the logs of every component of the cluster, each under its name. It works on a half-started cluster too.
func Logs(o Options, w io.Writer) error {
	c, err := Open(o)
	if err != nil {
		return err
	}
	files, err := filepath.Glob(c.path("logs", "*.log"))
	if err != nil {
		return fmt.Errorf("list logs: %w", err)
	}
	sort.Strings(files)
	for _, file := range files {
		if err := copyLog(w, file); err != nil {
			return fmt.Errorf("copy log: %w", err)
		}
	}
	return nil
}

func copyLog(w io.Writer, file string) error {
	if _, err := fmt.Fprintf(w, "==> %s <==\n", strings.TrimSuffix(filepath.Base(file), ".log")); err != nil {
		return err
	}
	log, err := os.Open(file)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // read only
	_, err = io.Copy(w, log)
	return err
}

// Kubectl is the path of the kubectl that fits the cluster.
func (c *Cluster) Kubectl() string { return c.binary("kubectl") }

// ImportImage makes the image in the tar file available to the cluster's Pods. A simulated node needs no images.
func (c *Cluster) ImportImage(ctx context.Context, tar string) error {
	if c.Nodes != Real {
		return nil
	}
	if c.Imported(tar) {
		return nil
	}
	if err := c.run(ctx, importImage(c.Layout, tar)); err != nil {
		return fmt.Errorf("import image: %w", err)
	}
	return writeFiles(nil, []File{{Path: c.imported(tar), Mode: 0o644}})
}

// Imported says whether ImportImage has brought this very tar file into the node.
func (c *Cluster) Imported(tar string) bool { return exists(c.imported(tar)) }

// imported is a file that says that this very tar file is in the node.
func (c *Cluster) imported(tar string) string {
	name := tar
	if info, err := os.Stat(tar); err == nil {
		name += info.ModTime().String()
	}
	sum := sha256.Sum256([]byte(name))
	return c.path("imported", hex.EncodeToString(sum[:8]))
}
