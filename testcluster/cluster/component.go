package cluster

import "io/fs"

// Step is one thing the starting loop does, in this order: make Dirs, write Files, run Commands to their end, start
// Components, wait until each is ready, then run After.
type Step struct {
	// Name is what the progress line says.
	Name       string
	Dirs       []string
	Files      []File
	Commands   []Command
	Components []Component
	After      []Command
	// Ready is asked last, when readiness is not a matter of one component.
	Ready []Probe
}

// File is a file with its content.
type File struct {
	Path    string
	Mode    fs.FileMode
	Content string
}

// Command is a program that runs to its end. Input is its standard input.
type Command struct {
	Args  []string
	Input string
}

// Component is a program that keeps running.
type Component struct {
	Name string
	Args []string
	// Inside names the component whose namespaces this one is started in.
	Inside string
	Ready  []Probe
}

// Probe is a question that is asked until the answer is yes. Exactly one field is set.
type Probe struct {
	// URL must answer 200 to a request with the administrator's certificate.
	URL string
	// Socket is a Unix socket that must accept a connection.
	Socket string
	// Node is the URL of a Node object that must be Ready.
	Node string
}
