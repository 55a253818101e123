//go:build !linux

package cluster

// detach has nothing to do: only Linux has real nodes, and only they mount.
func detach(string) error { return nil }
