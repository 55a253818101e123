package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
)

// Entry is one member of a layer: a symbolic link when Link is set, a folder when Mode says so, else a file with Data,
// or with the content of the file Source. The owner is root and the time is zero, so that equal content gives equal bytes.
type Entry struct {
	// Path is the place inside the image, with or without a leading slash.
	Path string
	// Mode is the permission; zero means 0644.
	Mode   fs.FileMode
	Data   []byte
	Source string
	Link   string
}

// WriteLayer writes a layer tar with the entries, ordered by path. Like WriteTar it never leaves half a file.
func WriteLayer(file string, entries []Entry) error {
	ordered := append([]Entry(nil), entries...)
	sort.Slice(ordered, func(a, b int) bool { return ordered[a].name() < ordered[b].name() })
	return writeWhole(file, func(w io.Writer) error {
		out := tar.NewWriter(w)
		for _, entry := range ordered {
			if err := entry.write(out); err != nil {
				return err
			}
		}
		return out.Close()
	})
}

// Tree lists the regular files and links below folder as entries below prefix.
func Tree(folder, prefix string) ([]Entry, error) {
	var entries []Entry
	err := filepath.WalkDir(folder, func(name string, item fs.DirEntry, err error) error {
		if err != nil || item.IsDir() {
			return err
		}
		relative, err := filepath.Rel(folder, name)
		if err != nil {
			return err
		}
		entry, err := treeEntry(name, path.Join(prefix, filepath.ToSlash(relative)))
		if err == nil {
			entries = append(entries, entry)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", folder, err)
	}
	return entries, nil
}

func treeEntry(name, place string) (Entry, error) {
	info, err := os.Lstat(name)
	if err != nil {
		return Entry{}, err
	}
	if info.Mode()&fs.ModeSymlink == 0 {
		return Entry{Path: place, Mode: info.Mode().Perm(), Source: name}, nil
	}
	target, err := os.Readlink(name)
	return Entry{Path: place, Link: target}, err
}

func (e Entry) name() string { return path.Clean("/" + e.Path)[1:] }

func (e Entry) write(out *tar.Writer) error {
	if e.Link != "" {
		return out.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: e.name(), Linkname: e.Link, Mode: 0o777})
	}
	if e.Mode.IsDir() {
		return out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: e.name() + "/", Mode: e.bits()})
	}
	content, size, err := e.open()
	if err != nil {
		return fmt.Errorf("read image member %q: %w", e.Path, err)
	}
	defer content.Close() //nolint:errcheck // read only
	if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: e.name(), Mode: e.bits(), Size: size}); err != nil {
		return fmt.Errorf("write image member %q: %w", e.Path, err)
	}
	if _, err := io.Copy(out, content); err != nil {
		return fmt.Errorf("write image member %q: %w", e.Path, err)
	}
	return nil
}

// bits is the mode as tar has it.
func (e Entry) bits() int64 {
	mode := int64(e.Mode.Perm())
	if e.Mode == 0 {
		mode = 0o644
	}
	if e.Mode&fs.ModeSticky != 0 {
		mode |= 0o1000
	}
	return mode
}

func (e Entry) open() (io.ReadCloser, int64, error) {
	if e.Source == "" {
		return io.NopCloser(bytes.NewReader(e.Data)), int64(len(e.Data)), nil
	}
	file, err := os.Open(e.Source)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, 0, err
	}
	return file, info.Size(), nil
}

func writeWhole(name string, write func(io.Writer) error) error {
	temporary, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name()) //nolint:errcheck // gone after the rename
	if err := write(temporary); err != nil {
		return err
	}
	if err := errors.Join(temporary.Chmod(0o644), temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), name)
}
