package reaper

import (
	"time"

	"github.com/prefect-kube/prefect-kube/internal/diagnose"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// deletable reports whether the Job is certainly one of ours or a Python agent's.
func (f facts) deletable() bool {
	return f.job.Managed || f.job.Python && flowrun.Prefixed(f.job.Name)
}

// end brings a Job to its end: one that goes on is stopped where it shall not, one
// that is over is deleted.
func (f facts) end(p Policy) []Action {
	switch {
	case f.orphans || !f.deletable() || f.job.Deleting:
		return nil
	case !f.ended():
		return f.stop(p)
	}
	return f.remove(p)
}

// remove deletes a Job that has served its time. One that was stopped never finishes.
func (f facts) remove(p Policy) []Action {
	over := f.job.Finished() || f.job.Parallelism == 0
	if !p.DeleteFinished || !over || f.occupied {
		return nil
	}
	if wait := f.young(); wait > 0 {
		return []Action{{Kind: Recheck, After: wait}}
	}
	switch {
	case f.run.knowledge == unasked:
		return []Action{{Kind: Ask}}
	case f.run.knowledge == unknown && !f.job.Managed:
		// It may be one of an agent of another Prefect.
		return []Action{{Kind: Recheck, After: keepRecheck}}
	case f.run.knowledge == unknown && f.doubted < doubt:
		return []Action{{Kind: Recheck, After: doubt - f.doubted}}
	case f.run.knowledge == known && f.newest && !f.run.final():
		return []Action{{Kind: Recheck, After: keepRecheck}}
	}
	return []Action{{Kind: DeleteJob}}
}

// young is how long the Job's name may still be needed.
func (f facts) young() time.Duration {
	return flowrun.Retention + slack - f.now.Sub(f.job.Created)
}

// clear deletes the Pods that outlived their Job, as the Python agents of 0.11.3 to
// 0.11.5 left them: those that a Job of theirs or ours had, that nothing owns, that
// have ended, and that are old enough. The newest one tells what became of the run,
// good or bad, and stays until the run is final. Those of a run that Prefect does not
// know may be of an agent of another Prefect.
func (f facts) clear(pods []diagnose.Pod, p Policy) []Action {
	if !p.DeleteFinished {
		return nil
	}
	var actions []Action
	for i, pod := range pods {
		if pod.Live() || pod.Deleting || !flowrun.Prefixed(pod.Name) {
			continue
		}
		witness := i == 0 && f.orphans
		actions = append(actions, f.clearOne(pod, witness)...)
	}
	return actions
}

func (f facts) clearOne(pod diagnose.Pod, witness bool) []Action {
	if age := f.now.Sub(pod.Created); age < flowrun.Retention+slack {
		return []Action{{Kind: Recheck, After: flowrun.Retention + slack - age}}
	}
	switch {
	case f.run.knowledge == unasked:
		return []Action{{Kind: Ask}}
	case f.run.knowledge == unknown, witness && !f.run.final():
		return []Action{{Kind: Recheck, After: keepRecheck}}
	}
	return []Action{{Kind: DeletePod, Pod: pod}}
}
