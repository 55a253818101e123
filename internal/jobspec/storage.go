package jobspec

import (
	"slices"
	"strings"
)

// storage is the part of a flow's storage that a Job depends on.
type storage struct {
	kind  string
	image string // empty unless Docker
}

// The storage types that Prefect 1.4.1 can load (serialization/storage.py).
var knownStorage = map[string]bool{
	"Azure": true, "Bitbucket": true, "CodeCommit": true, "Docker": true, "GCS": true, "Git": true, "GitHub": true,
	"GitLab": true, "Local": true, "Module": true, "S3": true, "Storage": true, "Webhook": true,
}

const dockerStorage = "Docker"

// readStorage decides by the type alone and reads only the keys of Docker.
func (b *builder) readStorage() (storage, error) {
	raw := b.run.Storage
	if absent(raw) {
		return storage{}, &FieldError{Field: "storage", Problem: "is null", Mend: "register the flow again, with a storage"}
	}
	fields, err := readObject("storage", raw)
	if err != nil {
		return storage{}, err
	}
	kind, err := fields.text("type")
	if err != nil {
		return storage{}, err
	}
	if kind == nil || *kind == "" {
		return storage{}, &FieldError{Field: "storage.type", Problem: "is missing", Mend: "register the flow again"}
	}
	if err := b.checkStorage(*kind, fields); err != nil {
		return storage{}, err
	}
	if *kind != dockerStorage {
		return storage{kind: *kind}, nil
	}
	image, err := b.dockerImage(fields)
	return storage{kind: dockerStorage, image: image}, err
}

// checkStorage refuses what the reference cannot load. Of the storages of 0.11.0
// only Docker matters, which had fewer keys then.
func (b *builder) checkStorage(kind string, fields object) error {
	if b.lenient {
		return nil
	}
	rules := storageRules(kind)
	if b.kind() == ByEnvironment && b.release.value(nameLabels) == labelsOld {
		if kind != dockerStorage {
			return nil
		}
		rules = slices.DeleteFunc(rules, func(r rule) bool { return r.key == "path" || r.key == "stored_as_script" })
	}
	if err := fields.follow(rules); err != nil {
		return err
	}
	return fields.construct(kind)
}

// dockerImage is Docker.name: registry_url and image_name joined as pure POSIX
// paths, and image_tag (prefect 0.11.0, environments/storage/docker.py).
func (b *builder) dockerImage(fields object) (string, error) {
	var found faults
	text := map[string]*string{}
	for _, key := range []string{"registry_url", "image_name", "image_tag", "prefect_version"} {
		value, err := fields.text(key)
		found.add(err)
		text[key] = value
	}
	if raw, given := fields.raw["prefect_version"]; given && absent(raw) {
		found.add(&FieldError{Field: "storage.prefect_version", Problem: "may not be null", Mend: "leave it out or register the flow again"})
	}
	for _, key := range []string{"image_name", "image_tag"} {
		if absent(fields.raw[key]) || b.lenient && text[key] != nil && *text[key] == "" {
			found.add(&FieldError{Field: "storage." + key, Problem: "is empty: Docker storage is missing required fields image_name and image_tag", Mend: "build the flow's image and register the flow again"})
		}
	}
	registry := ""
	if text["registry_url"] != nil {
		registry = *text["registry_url"]
	}
	if b.lenient && strings.Contains(registry, "://") {
		found.add(&FieldError{Field: "storage.registry_url", Value: registry, Problem: "is a URL, which no image name can contain", Mend: "leave out the scheme and register the flow again"})
	}
	if err := found.err(); err != nil {
		return "", err
	}
	return posixJoin(registry, *text["image_name"]) + ":" + *text["image_tag"], nil
}

// posixJoin is str(PurePosixPath(base, name)): double and trailing slashes and
// single dots vanish, parent dots stay, an absolute name discards the base.
func posixJoin(base, name string) string {
	path, rooted := name, name
	if base != "" && !strings.HasPrefix(name, "/") {
		path, rooted = base+"/"+name, base
	}
	root := ""
	if strings.HasPrefix(rooted, "/") {
		root = "/"
	}
	// Two leading slashes, exactly, are a root of their own in POSIX.
	if strings.HasPrefix(rooted, "//") && !strings.HasPrefix(rooted, "///") {
		root = "//"
	}
	var parts []string
	for part := range strings.SplitSeq(path, "/") {
		if part != "" && part != "." {
			parts = append(parts, part)
		}
	}
	if joined := root + strings.Join(parts, "/"); joined != "" {
		return joined
	}
	return "."
}
