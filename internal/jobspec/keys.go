package jobspec

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	batchv1 "k8s.io/api/batch/v1"
)

const maxKey = 64

// mendKey says what to do about a key that an object does not have: it may belong
// elsewhere in a Job, or be a slip of one that the object has.
func mendKey(key string, fields map[string]reflect.Type) string {
	if len(key) > maxKey {
		return "remove it"
	}
	near, changes := nearest(key, fields)
	found := homes(key)
	// A slip of one letter or of case is meant for here.
	if near != "" && (changes < 2 || len(found) == 0) {
		return fmt.Sprintf("did you mean %s?", near)
	}
	if place, ok := amounts()[bare(key)]; ok && len(found) == 0 {
		return "write it as " + inContainer + ".resources." + place
	}
	if len(found) == 0 {
		return "no object of a Job has such a key; remove it"
	}
	name, places := found[0].key, []string{found[0].place}
	for _, h := range found[1:] {
		places = append(places, h.place)
	}
	if name != key {
		return fmt.Sprintf("did you mean %s? It belongs into %s", name, strings.Join(places, " or "))
	}
	return "move it to " + strings.Join(places, " or ")
}

// nearest is the key with the fewest changes, if that is at most a third of it.
func nearest(key string, fields map[string]reflect.Type) (best string, least int) {
	least = len(key)/3 + 2
	for _, candidate := range sortedKeys(fields) {
		if d := levenshtein.ComputeDistance(strings.ToLower(key), strings.ToLower(candidate)); d < least {
			best, least = candidate, d
		}
	}
	return best, least
}

// home is a place in a Job that has a key, as it is spelled there.
type home struct{ place, key string }

// maxHomes is how many places are named for one key.
const maxHomes = 2

// amounts are keys of run configs, and of nobody, that people write into templates.
func amounts() map[string]string {
	return map[string]string{
		"cpu": "limits.cpu or requests.cpu", "memory": "limits.memory or requests.memory",
		"cpulimit": "limits.cpu", "cpurequest": "requests.cpu", "memorylimit": "limits.memory", "memoryrequest": "requests.memory",
	}
}

// usual are the places where people have something to write.
func usual() []string {
	return []string{orTop(""), "metadata", "spec", "spec.template", "spec.template.metadata", inPodSpec, inContainer, inContainer + ".resources"}
}

// bare is a key without what tells camelCase from snake_case.
func bare(key string) string {
	return strings.ToLower(strings.ReplaceAll(strings.ReplaceAll(key, "_", ""), "-", ""))
}

// homes are the places in a Job that have a key, however it is spelled, those with the
// fewest levels first. Usual places hide the others; where no place has the key, those of
// a key with one letter less or more count.
func homes(key string) []home {
	all := allHomes()
	found := slices.DeleteFunc(slices.Clone(all), func(h home) bool { return bare(h.key) != bare(key) })
	if len(found) == 0 && len(key) > 4 {
		found = slices.DeleteFunc(all, func(h home) bool { return levenshtein.ComputeDistance(bare(h.key), bare(key)) > 1 })
	}
	if frequent := slices.DeleteFunc(slices.Clone(found), func(h home) bool { return !slices.Contains(usual(), h.place) }); len(frequent) > 0 {
		found = frequent
	}
	return found[:min(len(found), maxHomes)]
}

// allHomes are all keys of a Job, level by level.
func allHomes() []home {
	var found []home
	seen := map[reflect.Type]bool{}
	for level := []member{{"", reflect.TypeFor[batchv1.Job]()}}; len(level) > 0; {
		var below []member
		for _, m := range level {
			if seen[m.t] {
				continue
			}
			seen[m.t] = !shared(m.t)
			fields := fieldTypes(m.t)
			for _, name := range sortedKeys(fields) {
				if m.path == inPodSpec && name == "resources" {
					continue // those of a whole Pod are newer than most clusters
				}
				found = append(found, home{orTop(m.path), name})
				if child, ok := objectBelow(m.path, name, fields[name]); ok {
					below = append(below, child)
				}
			}
		}
		level = below
	}
	return found
}

type member struct {
	path string
	t    reflect.Type
}

// shared is whether a type stands at several places that are not alike: both the
// Job and its Pods have metadata.
func shared(t reflect.Type) bool { return strings.HasSuffix(t.Name(), "ObjectMeta") }

func orTop(path string) string {
	if path == "" {
		return "the top of the Job"
	}
	return path
}

// objectBelow is the object behind a field, that of an item if the field is a list.
// What no template may set is no home for a key.
func objectBelow(path, name string, t reflect.Type) (member, bool) {
	path = join(path, name)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() == reflect.Slice {
		path, t = path+"[0]", t.Elem()
	}
	closed := slices.Contains([]string{"status", "ownerReferences", "managedFields", "ephemeralContainers", "scheduling"}, name)
	if closed || t.Kind() != reflect.Struct || len(fieldTypes(t)) == 0 {
		return member{}, false
	}
	return member{path, t}, true
}
