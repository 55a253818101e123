package cluster

import (
	"fmt"
	"io"
	"strings"
)

// DryRun prints the shell that Up would execute for the layout, and writes nothing else. Private keys and certificates
// are left out.
func DryRun(w io.Writer, l Layout) error {
	var script strings.Builder
	for _, step := range Plan(l, placeholders()) {
		printStep(&script, step)
	}
	_, err := io.WriteString(w, script.String())
	return err
}

// Preview returns the layout Up would choose for a new cluster now, without looking at the machine's programs. The
// kind Auto counts as Real.
func Preview(o Options) (Layout, error) {
	o, err := o.complete()
	if err != nil {
		return Layout{}, err
	}
	l, err := allocate(o)
	if err != nil {
		return l, err
	}
	if l.Nodes = o.Nodes; o.Nodes == Simulated || o.Nodes == None {
		return l, nil
	}
	l.Nodes = Real
	l.CNI, l.ResolvConf, l.PauseTar = "/usr/lib/cni", "/etc/resolv.conf", "pause.tar"
	l.Cgroups, _ = cgroupHierarchies() // none to show where there are none
	return l, nil
}

func placeholders() Certificates {
	pair := func(name string) Pair {
		return Pair{Certificate: "<" + name + " certificate>\n", Key: "<" + name + " key>\n"}
	}
	return Certificates{
		CA:             "<certificate authority>\n",
		APIServer:      pair("kube-apiserver"),
		Admin:          pair("admin"),
		Kubelet:        pair("kubelet"),
		ServiceAccount: pair("service account"),
	}
}

func printStep(w *strings.Builder, s Step) {
	fmt.Fprintf(w, "# %s\n", s.Name)
	for _, dir := range s.Dirs {
		fmt.Fprintf(w, "mkdir -p %s\n", dir)
	}
	for _, file := range s.Files {
		printFile(w, file)
	}
	printCommands(w, s.Commands)
	for _, c := range s.Components {
		args := c.Args
		if c.Inside != "" {
			args = append(enterNamespaces("$(cat pids/"+c.Inside+")"), args...)
		}
		fmt.Fprintf(w, "setsid %s >>logs/%s.log 2>&1 & echo $! >pids/%s\n", printArgs(args), c.Name, c.Name)
	}
	for _, c := range s.Components {
		printProbes(w, c.Ready)
	}
	printCommands(w, s.After)
	printProbes(w, s.Ready)
	w.WriteString("\n")
}

func printFile(w *strings.Builder, f File) {
	if strings.HasPrefix(f.Content, "<") || strings.HasSuffix(f.Path, "kubeconfig") {
		fmt.Fprintf(w, "install -m %04o /dev/stdin %s # %s", f.Mode, f.Path, firstLine(f.Content))
		return
	}
	fmt.Fprintf(w, "install -m %04o /dev/stdin %s <<'EOF'\n%sEOF\n", f.Mode, f.Path, f.Content)
}

func firstLine(text string) string {
	if strings.HasPrefix(text, "<") {
		return text
	}
	return "<kubeconfig>\n"
}

func printCommands(w *strings.Builder, commands []Command) {
	for _, c := range commands {
		w.WriteString(printArgs(c.Args))
		if c.Input != "" {
			fmt.Fprintf(w, " <<'EOF'\n%sEOF", c.Input)
		}
		w.WriteString("\n")
	}
}

func printProbes(w *strings.Builder, probes []Probe) {
	for _, p := range probes {
		switch {
		case p.Socket != "":
			fmt.Fprintf(w, "await socket %s\n", p.Socket)
		case p.Node != "":
			fmt.Fprintf(w, "await Ready %s\n", p.Node)
		default:
			fmt.Fprintf(w, "await 200 %s\n", p.URL)
		}
	}
}

// printArgs joins arguments; a long line is broken before each --name=value.
func printArgs(args []string) string {
	const long = 120
	quoted := make([]string, len(args))
	for n, arg := range args {
		quoted[n] = quote(arg)
	}
	line := strings.Join(quoted, " ")
	if len(line) <= long {
		return line
	}
	for n, arg := range quoted {
		if strings.HasPrefix(arg, "--") && strings.Contains(arg, "=") || strings.HasPrefix(arg, "\"--") {
			quoted[n] = "\\\n  " + arg
		}
	}
	return strings.Join(quoted, " ")
}

func quote(arg string) string {
	if strings.Contains(arg, "$(") {
		return `"` + arg + `"`
	}
	if strings.ContainsAny(arg, " \"'>;&|!") {
		return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
	}
	return arg
}
