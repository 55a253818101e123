package flowrun

import (
	"cmp"
	"strings"
)

// Place is a namespace that gets Jobs. Job names protect inside one place only. A
// process knows its place by as many identities as it may read, and writes all of them
// into its marks.
type Place struct {
	// UID is the namespace's own. It is empty where it may not be read.
	UID string
	// Name stands for the cluster and the namespace's name. It is empty in the marks of
	// releases that wrote the UID alone.
	Name string
}

// byName begins each Name. No UID begins so.
const byName = "name-"

// NewPlace is the place with the UID, if that is known, and with a digest of its
// cluster and name.
func NewPlace(uid, digest string) Place { return Place{UID: uid, Name: byName + digest} }

// ParsePlace reads a place as marks hold it: the texts of String and of Name, of which
// the second may be missing.
func ParsePlace(text, name string) Place {
	if strings.HasPrefix(text, byName) {
		return Place{Name: text}
	}
	return Place{UID: text, Name: name}
}

// String is the best identity, empty if there is none.
func (p Place) String() string { return cmp.Or(p.UID, p.Name) }

// Is reports whether both are one place, as far as that is known. Two UIDs decide
// alone: a namespace that was made again has its name and is another place.
func (p Place) Is(o Place) bool {
	if p.UID != "" && o.UID != "" {
		return p.UID == o.UID
	}
	return p.Name != "" && p.Name == o.Name
}
