//go:build !linux

package cluster

import (
	"bufio"
	"bytes"
	"context"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// processes lists the processes of the cluster's own binaries whose arguments name its folder: systems without /proc do
// not show another process's environment.
func (l Layout) processes(ctx context.Context) ([]int, error) {
	output, err := exec.CommandContext(ctx, "ps", "-axww", "-o", "pid=,command=").Output()
	if err != nil {
		return nil, err
	}
	var pids []int
	lines := bufio.NewScanner(bytes.NewReader(output))
	for lines.Scan() {
		number, command, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		pid, err := strconv.Atoi(number)
		if err == nil && strings.HasPrefix(command, l.Bin+"/") && strings.Contains(command, l.Dir+"/") {
			pids = append(pids, pid)
		}
	}
	return pids, lines.Err()
}

func (l Layout) owns(pid int) bool {
	pids, err := l.processes(context.Background())
	return err == nil && slices.Contains(pids, pid)
}

// zombie is always false: once the starter has ended, the system's first process takes every exit status at once.
func zombie(int) bool { return false }
