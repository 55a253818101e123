package reaper

import (
	"github.com/prefect-kube/prefect-kube/internal/diagnose"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// deletable reports whether the Job is certainly one of ours or a Python agent's.
func (f facts) deletable() bool {
	return f.job.Managed || f.job.Python && flowrun.Prefixed(f.job.Name)
}

// remove deletes a Job that has served its time.
func (f facts) remove(p Policy) []Action {
	if !p.DeleteFinished || f.orphans || !f.deletable() || f.job.Deleting {
		return nil
	}
	if f.occupied && f.started {
		return f.stop(p)
	}
	hopeless := f.verdict.Kind == diagnose.Stuck && !f.started && !f.job.Finished()
	if !hopeless && (!f.job.Finished() || f.occupied) {
		return nil
	}
	if age := f.now.Sub(f.job.Created); age < flowrun.Retention+slack {
		return []Action{{Kind: Recheck, After: flowrun.Retention + slack - age}}
	}
	if f.run.knowledge == unasked {
		if hopeless {
			// report asks once the time has come.
			return nil
		}
		return []Action{{Kind: Ask}}
	}
	return f.removeOld(hopeless)
}

// stop deletes a Job that goes on although its run was cancelled a grace period
// ago: the process does not obey, or its Prefect is too old to be asked to (D-61).
// Nothing in the cluster tells of a cancellation.
//
// "Delivery" says that a live Job is stopped by parallelism 0 and keeps its name.
// Here it is deleted: Cancelled is final, a rerun has another attempt and so
// another name, and the Job is older than any create of it that may be under way.
// The run is read again right before, see confirm.
func (f facts) stop(p Policy) []Action {
	if f.job.Finished() || !f.newest {
		return nil
	}
	if age := f.now.Sub(f.job.Created); age < flowrun.Retention+slack {
		return []Action{{Kind: Recheck, After: flowrun.Retention + slack - age}}
	}
	_, state := f.run.counting()
	switch {
	case f.run.knowledge == unasked:
		return []Action{{Kind: Ask}}
	case f.run.knowledge == unknown || state != flowrun.Cancelled:
		return []Action{{Kind: Recheck, After: keepRecheck}}
	case f.same < p.Grace:
		return []Action{{Kind: Recheck, After: p.Grace - f.same}}
	}
	return []Action{{Kind: DeleteJob}}
}

func (f facts) removeOld(hopeless bool) []Action {
	switch {
	case hopeless:
		if f.run.final() || f.superseded() {
			return []Action{{Kind: DeleteJob}}
		}
		return nil
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

// superseded reports whether the run waits to be started anew: a Job that can
// never start must not keep it waiting.
func (f facts) superseded() bool {
	_, state := f.run.counting()
	return f.run.knowledge == known && f.run.folded && state == flowrun.Scheduled && f.job.Attempt != flowrun.Attempt(f.run.standing.Scheduled)
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
