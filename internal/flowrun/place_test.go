package flowrun_test

import (
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// One namespace has two identities, of which a process may know one only.
func TestPlaceIs(t *testing.T) {
	t.Parallel()
	both, named, uid := flowrun.NewPlace("u", "d"), flowrun.NewPlace("", "d"), flowrun.ParsePlace("u", "")
	for name, c := range map[string]struct {
		a, b flowrun.Place
		want bool
	}{
		"both know all":                   {both, both, true},
		"one knows the name alone":        {both, named, true},
		"neither knows more":              {named, named, true},
		"an older release's claim":        {both, uid, true},
		"nothing in common is known":      {named, uid, false},
		"made again under its name":       {both, flowrun.NewPlace("v", "d"), false},
		"another cluster":                 {both, flowrun.NewPlace("v", "e"), false},
		"another cluster, by name":        {both, flowrun.NewPlace("", "e"), false},
		"another cluster, both by name":   {named, flowrun.NewPlace("", "e"), false},
		"a UID that reads like a digest":  {flowrun.NewPlace("d", "x"), named, false},
		"nobody's place":                  {both, flowrun.Place{}, false},
		"nothing is known of two of them": {flowrun.Place{}, flowrun.Place{}, false},
	} {
		if c.a.Is(c.b) != c.want || c.b.Is(c.a) != c.want {
			t.Errorf("%s: %v and %v are one place: %v, want %v", name, c.a, c.b, !c.want, c.want)
		}
	}
	for _, p := range []flowrun.Place{both, named, uid} {
		if got := flowrun.ParsePlace(p.String(), p.Name); got != p {
			t.Errorf("got %v, want %v", got, p)
		}
	}
}
