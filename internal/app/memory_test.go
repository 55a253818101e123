package app

import "testing"

func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"268435456\n": 241591905, "max\n": 0, "9223372036854771712\n": 0, "": 0, "0": 0, "-1": 0, "many": 0, "99999999999999999999": 0,
	} {
		got, ok := memoryLimit(text)
		if ok != (want > 0) || ok && got != want {
			t.Errorf("%q: got %d, %v, want %d", text, got, ok, want)
		}
	}
}
