package agent

import (
	"context"
	"strings"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// lookAt fetches what the place holds of those runs that somebody had before.
func (a *Agent) lookAt(ctx context.Context, views []view) error {
	var ids []flowrun.ID
	for _, v := range views {
		if needsLook(v.run, v.stand) {
			ids = append(ids, v.run.ID)
		}
	}
	here, err := a.look(ctx, ids)
	if err != nil {
		return err
	}
	for i := range views {
		views[i].here = here[views[i].run.ID]
	}
	return nil
}

// look fetches what the place holds of runs, started by Python agents included, in
// one list each for Jobs and Pods and for each label that names a run.
func (a *Agent) look(ctx context.Context, ids []flowrun.ID) (map[flowrun.ID]objects, error) {
	here := make(map[flowrun.ID]objects, len(ids))
	if len(ids) == 0 {
		return here, nil
	}
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i], here[id] = string(id), objects{}
	}
	others := ""
	for _, label := range flowrun.RunLabels() {
		if err := a.lookFor(ctx, label+" in ("+strings.Join(names, ",")+")"+others, here); err != nil {
			return nil, err
		}
		others += ",!" + label
	}
	return here, nil
}

func (a *Agent) lookFor(ctx context.Context, selector string, here map[flowrun.ID]objects) error {
	jobs, err := a.cluster.Jobs(ctx, a.c.Namespace, selector)
	if err != nil {
		return err
	}
	pods, err := a.cluster.Pods(ctx, a.c.Namespace, selector)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		id := flowrun.RunOf(j.Name, j.Labels)
		if o, ok := here[id]; ok {
			o.jobs = append(o.jobs, j)
			here[id] = o
		}
	}
	for _, p := range pods {
		id := flowrun.RunOf(p.Name, p.Labels)
		if o, ok := here[id]; ok {
			o.pods = append(o.pods, p)
			here[id] = o
		}
	}
	return nil
}
