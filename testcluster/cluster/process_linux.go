package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
)

// processes lists the processes that carry the cluster's marker, including those inside the node's namespace.
func (l Layout) processes(context.Context) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil && l.owns(pid) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// owns says whether the process carries the marker. A process that has ended has no environment left.
func (l Layout) owns(pid int) bool {
	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false
	}
	want := []byte(marker + "=" + l.Dir)
	for variable := range bytes.SplitSeq(environment, []byte{0}) {
		if bytes.Equal(variable, want) {
			return true
		}
	}
	return false
}

// zombie says whether the process has ended and only waits for its parent to ask.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	// The state follows the program's name, which is in brackets and may hold some itself.
	rest := stat[bytes.LastIndexByte(stat, ')')+1:]
	return bytes.HasPrefix(rest, []byte(" Z")) || bytes.HasPrefix(rest, []byte(" X"))
}
