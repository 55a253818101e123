package jobspec

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Places of a Job that have long names.
const (
	inPodSpec   = "spec.template.spec"
	inContainer = "spec.template.spec.containers[0]"
)

// warn tells of a key of the template, with its place in the text.
func (b *builder) warn(tree Tree, path, key, text, mend string) {
	p := Problem{Path: join(path, key)}
	if at := b.places.key(tree, key); at.line > 0 {
		p.Line, p.Column, p.Source = at.line, at.column, b.places.source
	}
	b.warnings.add(p.place(), text, mend)
}

// warnLost tells of a value of the template that another takes the place of.
func (b *builder) warnLost(tree Tree, path, key string, value any, winner string) {
	if own := tree[key]; own != nil && !reflect.DeepEqual(own, value) {
		b.warn(tree, path, key, "has no effect: "+winner+" counts more", "keep one of them")
	}
}

// warnArgs tells of arguments of the template, which Prefect's own take the place of.
func (b *builder) warnArgs(container Tree, command string) {
	args, _ := container["args"].([]any)
	own := make([]string, len(args))
	for i, arg := range args {
		own[i], _ = arg.(string)
	}
	if text := strings.Join(own, " "); len(args) > 0 && text != commandCloudFlow && text != commandFlowRun {
		b.warn(container, inContainer, "args", "have no effect: the first container runs "+command,
			`put what should happen before into command, such as [sh, -c, 'set-up && exec "$0" "$@"']`)
	}
}

// warnLostVariables has one line for each two that disagree.
func (b *builder) warnLostVariables(list *envList) {
	var contests []contest
	for c := range list.lost {
		contests = append(contests, c)
	}
	slices.SortFunc(contests, func(a, b contest) int { return strings.Compare(a.loser+a.winner, b.loser+b.winner) })
	for _, c := range contests {
		b.warnings.add(c.loser, fmt.Sprintf("sets %s without effect: %s counts more", enumerate(list.lost[c]), c.winner), "leave it out")
	}
}
