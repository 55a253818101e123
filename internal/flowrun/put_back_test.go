package flowrun_test

import (
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

func TestPutBack(t *testing.T) {
	t.Parallel()
	begun := []flowrun.Row{foreign(1, flowrun.Scheduled), claim(2, "a", 1), foreign(3, flowrun.Success)}
	for name, c := range map[string]struct {
		late  []flowrun.Row
		place string
		want  flowrun.StateType // empty: nothing is put back
	}{
		"nothing is covered":                       {nil, "place-a", ""},
		"a claim of this place":                    {[]flowrun.Row{claim(4, "b", 1)}, "place-b", flowrun.Success},
		"a claim of another, the run is held here": {[]flowrun.Row{claim(4, "b", 1)}, "place-a", flowrun.Success},
		"a claim of another place":                 {[]flowrun.Row{claim(4, "b", 1)}, "place-c", ""},
		"a claim of this place, by name":           {[]flowrun.Row{claim(4, "b", 1)}, "name-b", flowrun.Success},
		"a claim of another place, by name":        {[]flowrun.Row{claim(4, "b", 1)}, "name-c", ""},
		"a verdict":                                {[]flowrun.Row{verdict(4, "b", 2, flowrun.Submitted)}, "place-b", flowrun.Success},
		"a put-back that came late":                {[]flowrun.Row{putBack(4, "b", flowrun.Running)}, "place-b", flowrun.Success},
		"a put-back of what counts":                {[]flowrun.Row{claim(4, "b", 1), putBack(5, "b", flowrun.Success)}, "place-b", ""},
		"a foreign state of one version":           {[]flowrun.Row{foreign(3, flowrun.Running)}, "place-c", flowrun.Success},
		"a cancel is further than what goes on":    {[]flowrun.Row{foreign(4, flowrun.Cancelling), foreign(4, flowrun.Running)}, "place-c", flowrun.Cancelling},
	} {
		history := append(append([]flowrun.Row{}, begun...), c.late...)
		last := history[len(history)-1]
		s := flowrun.Snapshot{ID: "r", Version: last.Version, State: last.State, History: history}
		w, ok := s.PutBack("me", flowrun.ParsePlace(c.place, ""))
		if ok != (c.want != "") || w.Type != c.want {
			t.Errorf("%s: got %q %v, want %q", name, w.Type, ok, c.want)
		}
		if ok && (w.Mark.Kind != flowrun.PutBack || w.Mark.Place.String() != c.place || w.Version != last.Version) {
			t.Errorf("%s: got %+v", name, w)
		}
	}
	if _, ok := (flowrun.Snapshot{Version: 4, State: claim(4, "a", 3).State}).PutBack("me", flowrun.Place{UID: "place-a"}); ok {
		t.Error("without a history something is put back")
	}
}
