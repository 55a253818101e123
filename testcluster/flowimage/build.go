package flowimage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// pythonVersion is Debian bookworm's, and so the image's. Compiled packages and pickles fit no other.
const pythonVersion = "3.11"

// base returns the tar of the lowest layer: Debian's python3 and a shell, extracted but not configured.
func (b Builder) base(ctx context.Context) (string, error) {
	tar := filepath.Join(b.images(), "debian-bookworm-python"+pythonVersion+".tar")
	if exists(tar) {
		return tar, nil
	}
	if err := b.need(ctx, "mmdebstrap", "mmdebstrap"); err != nil {
		return "", err
	}
	b.say("extracting debian's python %s ...", pythonVersion)
	half := strings.TrimSuffix(tar, ".tar") + ".new.tar"
	defer os.Remove(half) //nolint:errcheck // gone after the rename
	args := []string{
		"--mode=root", "--quiet", "--variant=extract",
		"--include=base-files,dash,coreutils,python3-minimal,python3",
		`--aptopt=APT::Install-Recommends "false"`, "bookworm", half,
	}
	if mirror := os.Getenv("DEBIAN_MIRROR"); mirror != "" {
		args = append(args, mirror)
	}
	if err := run(exec.CommandContext(ctx, "mmdebstrap", args...)); err != nil {
		return "", err
	}
	return tar, os.Rename(half, tar)
}

// libraries returns the folder with a version's packages (lib) and the stored flows (flows). Both are made together:
// the pickles of 0.11.0 differ from one making to the next, and host and image must hold the same ones.
func (b Builder) libraries(ctx context.Context, version string) (string, error) {
	sum, err := hash(version)
	if err != nil {
		return "", err
	}
	folder := filepath.Join(b.images(), "prefect-"+version+"-"+sum)
	if exists(folder) {
		return folder, nil
	}
	interpreter, err := b.interpreter(ctx)
	if err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(b.images(), "new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work) //nolint:errcheck // gone after the rename
	b.say("installing prefect %s ...", version)
	if err := install(ctx, interpreter, "lock."+version, filepath.Join(work, "lib")); err != nil {
		return "", err
	}
	if err := storeFlows(ctx, interpreter, work); err != nil {
		return "", err
	}
	// Made by root, the folder is used by others too.
	return folder, errors.Join(os.Chmod(work, 0o755), os.Rename(work, folder))
}

// install puts the locked packages into the folder. Dependencies are not resolved: the requirements of 0.11.0 name
// releases without wheels for this Python, and the newer ones in its lock work.
func install(ctx context.Context, interpreter, name, folder string) error {
	lock, err := python.ReadFile("python/" + name)
	if err != nil {
		return err
	}
	args := append([]string{
		"-m", "pip", "install", "--quiet", "--no-compile", "--no-deps", "--root-user-action=ignore",
		"--disable-pip-version-check", "--target", folder,
	}, strings.Fields(string(lock))...)
	if err := run(exec.CommandContext(ctx, interpreter, args...)); err != nil {
		return err
	}
	return removeTests(folder)
}

// removeTests removes the packages' own tests, a fifth of the size.
func removeTests(folder string) error {
	return filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() || entry.Name() != "tests" {
			return err
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		return fs.SkipDir
	})
}

func storeFlows(ctx context.Context, interpreter, work string) error {
	flows, scripts := filepath.Join(work, "flows"), filepath.Join(work, "scripts")
	if err := os.MkdirAll(flows, 0o755); err != nil {
		return err
	}
	if err := os.MkdirAll(scripts, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"flows.py", "pickle_flows.py", "register.py"} {
		data, err := python.ReadFile("python/" + name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(scripts, name), data, 0o644); err != nil {
			return err
		}
	}
	command := exec.CommandContext(ctx, interpreter, filepath.Join(scripts, "pickle_flows.py"), flows)
	command.Env = environment(work, filepath.Join(work, "lib"))
	return run(command)
}

// environment keeps the reader's own Prefect settings out and the packages of folder in.
func environment(home, lib string) []string {
	var kept []string
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "PREFECT") && !strings.HasPrefix(variable, "PYTHON") && !strings.HasPrefix(variable, "HOME=") {
			kept = append(kept, variable)
		}
	}
	return append(kept, "PYTHONPATH="+lib, "PYTHONDONTWRITEBYTECODE=1", "HOME="+home)
}

// interpreter finds a Python of the right version that has pip: $PYTHON, python3.11 or python3.
func (b Builder) interpreter(ctx context.Context) (string, error) {
	candidates := []string{os.Getenv("PYTHON"), "python" + pythonVersion, "python3"}
	if found := findInterpreter(ctx, candidates); found != "" {
		return found, nil
	}
	// The interpreter may be there and only pip be missing, so both packages are asked for.
	err := errors.Join(b.need(ctx, "python"+pythonVersion, "python"+pythonVersion), b.need(ctx, "pip3", "python3-pip"))
	if found := findInterpreter(ctx, candidates); found != "" {
		return found, nil
	}
	return "", errors.Join(fmt.Errorf("python %s with pip is needed: install it, or name it in PYTHON", pythonVersion), err)
}

func findInterpreter(ctx context.Context, candidates []string) string {
	const question = "import pip, sys; print(sys.executable if '%d.%d' % sys.version_info[:2] == '" + pythonVersion + "' else '')"
	for _, name := range candidates {
		if name == "" {
			continue
		}
		answer, err := exec.CommandContext(ctx, name, "-c", question).Output()
		if path := strings.TrimSpace(string(answer)); err == nil && path != "" {
			return path
		}
	}
	return ""
}

func run(command *exec.Cmd) error {
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(command.Path), err, bytes.TrimSpace(output))
	}
	return nil
}
