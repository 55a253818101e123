package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// hostSettings is what real nodes change on the machine itself and share: kernel settings that the kubelet and the
// bridge need, and folders that serve as mount points. The first real node writes down how things were, the last one to
// go puts them back.
type hostSettings struct {
	Sysctls map[string]string
	// Dirs did not exist before.
	Dirs []string
}

func hostSettingsFile(clusters string) string { return filepath.Join(clusters, "host.json") }

// sysctls are the settings that the kubelet (pkg/kubelet/cm, setupKernelTunables) and the node's bridge change.
func sysctls() []string {
	return []string{
		"net/ipv4/ip_forward", "vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
		"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
	}
}

func saveHostSettings(clusters string) error {
	file := hostSettingsFile(clusters)
	if _, err := os.Stat(file); err == nil {
		return nil
	}
	settings := hostSettings{Sysctls: map[string]string{}}
	for _, key := range sysctls() {
		if value, err := os.ReadFile(filepath.Join("/proc/sys", key)); err == nil {
			settings.Sysctls[key] = strings.TrimSpace(string(value))
		}
	}
	for _, shared := range sharedDirs() {
		if _, err := os.Stat(shared.host); errors.Is(err, fs.ErrNotExist) {
			settings.Dirs = append(settings.Dirs, shared.host)
		}
	}
	return writeJSON(file, settings)
}

// restoreHostSettings undoes saveHostSettings. A folder that somebody else uses by now stays.
func restoreHostSettings(clusters string) error {
	file := hostSettingsFile(clusters)
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read host settings: %w", err)
	}
	var settings hostSettings
	if err := json.Unmarshal(data, &settings); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	var failures []error
	for key, value := range settings.Sysctls {
		failures = append(failures, restoreSysctl(filepath.Join("/proc/sys", key), value))
	}
	for _, dir := range settings.Dirs {
		_ = os.Remove(dir) // refused when not empty, and then not ours to remove
	}
	if err := errors.Join(failures...); err != nil {
		return err
	}
	return os.Remove(file)
}

func restoreSysctl(path, value string) error {
	now, err := os.ReadFile(path)
	if err != nil || strings.TrimSpace(string(now)) == value {
		return nil //nolint:nilerr // a setting this kernel does not have was not changed either
	}
	if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
		return fmt.Errorf("restore kernel setting: %w", err)
	}
	return nil
}
