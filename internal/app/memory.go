package app

import (
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// limitMemory lets the garbage collector know the limit of the container, unless
// GOMEMLIMIT says another. Without a limit it does nothing.
func limitMemory(log *slog.Logger) {
	if _, set := os.LookupEnv("GOMEMLIMIT"); set {
		return
	}
	// Of cgroup v2 and v1, as a container sees its own.
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := os.ReadFile(file) //nolint:gosec // a file of the kernel
		if limit, ok := memoryLimit(string(text)); err == nil && ok {
			debug.SetMemoryLimit(limit)
			log.Debug("memory limit set", slog.Int64("bytes", limit))
			return
		}
	}
}

// memoryLimit leaves a tenth for what the collector does not know. v2 writes max, v1 a
// number near the largest, where there is no limit.
func memoryLimit(text string) (limit int64, ok bool) {
	const most = 1 << 50
	bytes, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	return bytes / 10 * 9, err == nil && bytes > 0 && bytes < most
}
