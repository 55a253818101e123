package jobspec

// Keep is a behaviour of the reference that can be kept, for --keep and the docs.
type Keep struct {
	// Name is what --keep takes, Defect the reason for our own behaviour, empty
	// where that is not the mend of a defect.
	Name, Defect string
	// Does says what we do unless it is kept.
	Does string
}

// keepStorage is the one that decides before there is a Job to change.
const keepStorage = "storage"

// Keeps returns what Settings.Keep takes: the Changes that are not fixed, and
// storage, which decides whether there is a Job at all.
func Keeps() []Keep {
	keeps := []Keep{{keepStorage, "D-34", "flows whose storage names no image run in the image of their environment's metadata or the agent's default; unknown storage types do not matter"}}
	for _, change := range Changes() {
		if !change.Fixed {
			keeps = append(keeps, Keep{change.Name, change.Defect, change.Does})
		}
	}
	return keeps
}

// KeepNames returns the names of Keeps, in their order.
func KeepNames() []string {
	var names []string
	for _, keep := range Keeps() {
		names = append(names, keep.Name)
	}
	return names
}
