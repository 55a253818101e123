package flowrun

import (
	"errors"
	"time"
)

// Asked is the pause that Prefect wants before the next request, within a bound, and
// zero where an error names none.
func Asked(err error, most time.Duration) time.Duration {
	var a interface{ After() time.Duration }
	if !errors.As(err, &a) {
		return 0
	}
	return max(0, min(a.After(), most))
}
