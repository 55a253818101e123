package prefect1

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// target takes one value of an answer. An error about a type that json.Unmarshal finds
// leaves the decoder behind the value; after any other error nothing more is read.
type target interface {
	take(d *json.Decoder) error
}

// object are the fields of an object that are wanted, by name. Others are passed over.
type object map[string]target

// value is decoded whole, so it is for what a small answer holds.
type value struct{ into any }

// list takes the items of a list, at most so many. Where there is one, even an empty one,
// into is not nil.
type list[T any] struct {
	most int
	into *[]T
}

// errEnough ends the reading of an answer that goes on with more than was asked for.
var errEnough = errors.New("more than was asked for")

// shapeError is a value of another type than the protocol promises.
type shapeError struct{ want string }

func (e *shapeError) Error() string { return "want " + e.want }

// passable reports whether the decoder can go on behind the value.
func passable(err error) bool {
	_, kind := errors.AsType[*json.UnmarshalTypeError](err)
	return err == nil || kind
}

func (v value) take(d *json.Decoder) error { return d.Decode(v.into) }

func (o object) take(d *json.Decoder) error {
	if opened, err := open(d, '{'); !opened {
		return err
	}
	return o.fields(d)
}

// fields reads an object that is open.
func (o object) fields(d *json.Decoder) error {
	var first error
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		key, _ := name.(string) // inside an object it is one
		t, wanted := o[key]
		if !wanted {
			t = value{&nothing{}}
		}
		err = t.take(d)
		if !passable(err) {
			return err
		}
		if first == nil && err != nil {
			first = fmt.Errorf("%s: %w", key, err)
		}
	}
	if _, err := d.Token(); err != nil {
		return err
	}
	return first
}

func (l list[T]) take(d *json.Decoder) error {
	if opened, err := open(d, '['); !opened {
		return err
	}
	*l.into = []T{}
	var first error
	for n := 0; d.More(); n++ {
		if n >= l.most {
			return errEnough
		}
		var item T
		err := d.Decode(&item)
		if !passable(err) {
			return err
		}
		if err == nil {
			*l.into = append(*l.into, item)
		} else if first == nil {
			first = err
		}
	}
	if _, err := d.Token(); err != nil {
		return err
	}
	return first
}

// open reads the beginning of an object or a list. It is false for null, which counts
// as missing.
func open(d *json.Decoder, begin json.Delim) (bool, error) {
	switch token, err := d.Token(); {
	case err != nil || token == nil:
		return false, err
	case token == begin:
		return true, nil
	default:
		return false, &shapeError{want: map[json.Delim]string{'{': "an object", '[': "a list"}[begin]}
	}
}

// nothing is a value that is passed over.
type nothing struct{}

// UnmarshalJSON implements json.Unmarshaler.
func (nothing) UnmarshalJSON([]byte) error { return nil }

// maxErrors is how many errors of an answer are kept.
const maxErrors = 20

// decode reads an answer as it comes, into the fields of its data. Data is taken even
// when the answer carries errors, since servers may send both.
func decode(r io.Reader, into object) error {
	head := &beginning{}
	d := json.NewDecoder(io.TeeReader(r, head))
	var there bool
	var found []errorItem
	err := object{
		"data":   noticed{into, &there},
		"errors": list[errorItem]{maxErrors, &found},
	}.take(d)
	if passable(err) {
		err = errors.Join(err, finish(d))
	}
	if errors.Is(err, errEnough) {
		err = nil
	}
	if err != nil {
		return errors.Join(asError(found), &MalformedError{Excerpt: excerpt(head.text), Err: err})
	}
	if err := asError(found); err != nil {
		return err
	}
	if !there {
		return &MalformedError{Excerpt: excerpt(head.text), Err: errors.New("no data in the answer")}
	}
	return nil
}

// finish reads to the end, so that the connection can be used again.
func finish(d *json.Decoder) error {
	switch token, err := d.Token(); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	default:
		return fmt.Errorf("%v behind the answer", token)
	}
}

// noticed is an object of which is said whether it is there.
type noticed struct {
	object
	there *bool
}

func (n noticed) take(d *json.Decoder) error {
	opened, err := open(d, '{')
	if !opened {
		return err
	}
	*n.there = true
	return n.fields(d)
}

// beginning keeps the first bytes of an answer, for an error to show.
type beginning struct{ text []byte }

func (b *beginning) Write(p []byte) (int, error) {
	const most = 256
	b.text = append(b.text, p[:min(len(p), most-len(b.text))]...)
	return len(p), nil
}

// decodeList reads a list that is inside of what was read already.
func decodeList[T any](data []byte, most int) (items []T, err error) {
	err = list[T]{most, &items}.take(json.NewDecoder(bytes.NewReader(data)))
	return items, err
}
