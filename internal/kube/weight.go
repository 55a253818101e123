package kube

import (
	"bytes"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// maxWeight bounds the memory that an answer becomes when it is decoded, in bytes. A
// few bytes can ask for a whole object, so the answer's own size bounds nothing.
const maxWeight = 8 << 20

// What parts of JSON become at most, about: an object in a list, a text or a number in
// one, a key.
const (
	weightOfObject = 512
	weightOfValue  = 32
	weightOfKey    = 48
)

var protobufPrefix = []byte("k8s\x00")

// weigher weighs answers before they are decoded.
type weigher struct {
	scheme *runtime.Scheme
	known  sync.Map
}

// check refuses an answer that would become more than maxWeight.
func (w *weigher) check(data []byte, into runtime.Object) error {
	weigh := func() int { return weightOfJSON(data) }
	if raw, ok := bytes.CutPrefix(data, protobufPrefix); ok {
		weigh = func() int { return w.protobuf(raw, into) }
	}
	if weigh() > maxWeight {
		return &largeError{what: fmt.Sprintf("%d bytes that would become more than %d MiB", len(data), maxWeight>>20)}
	}
	return nil
}

// weightOfJSON estimates without decoding. What is no JSON is left to the decoder.
func weightOfJSON(data []byte) int {
	weight := len(data)
	var lists []bool // for each level, whether it is a list
	value := true    // whether a value begins here, and not a key
	for i := 0; i < len(data) && weight <= maxWeight; i++ {
		inList := len(lists) > 0 && lists[len(lists)-1]
		switch c := data[i]; c {
		case ' ', '\t', '\r', '\n':
		case '{', '[':
			if inList {
				weight += weightOfObject
			}
			lists = append(lists, c == '[')
			weight++
			value = c == '['
		case '}', ']':
			lists = lists[:max(0, len(lists)-1)]
			value = false
		case ',':
			value = inList
			if !inList {
				weight += weightOfKey
			}
		case ':':
			value = true
		case '"':
			i += textEnd(data[i+1:])
			if inList && value {
				weight += weightOfValue
			}
			value = false
		default:
			if inList && value {
				weight += map[bool]int{true: weightOfObject, false: weightOfValue}[c == 'n'] // null is an empty object
			}
			value = false
		}
	}
	return weight
}

// textEnd is where a text ends, seen from behind its first quotation mark.
func textEnd(data []byte) int {
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(data)
}

// protobuf estimates by the types of Go, without decoding.
func (w *weigher) protobuf(data []byte, into runtime.Object) int {
	kind, raw := unwrap(data)
	// The decoder takes what the answer says it is, whatever was asked for.
	if named, err := w.scheme.New(kind); err == nil {
		into = named
	}
	if into == nil {
		return 0
	}
	s := scale{weight: len(data), known: &w.known}
	s.message(reflect.TypeOf(into).Elem(), raw, 0)
	return s.weight
}

// unwrap reads a runtime.Unknown without a copy. What is none is left to the decoder.
func unwrap(data []byte) (kind schema.GroupVersionKind, raw []byte) {
	const typeField, rawField = 1, 2
	for len(data) > 0 {
		number, wire, n := protowire.ConsumeTag(data)
		if n < 0 || wire != protowire.BytesType {
			return kind, raw
		}
		value, m := protowire.ConsumeBytes(data[n:])
		if m < 0 {
			return kind, raw
		}
		if number == rawField {
			raw = value
		}
		var named runtime.TypeMeta
		if number == typeField && named.Unmarshal(value) == nil {
			kind = schema.FromAPIVersionAndKind(named.APIVersion, named.Kind)
		}
		data = data[n+m:]
	}
	return kind, raw
}

// scale adds up what fields become.
type scale struct {
	weight int
	known  *sync.Map // of reflect.Type: the types of its fields by their numbers
}

const deepest = 100 // levels of messages, more than any object has

func (s *scale) message(t reflect.Type, data []byte, level int) {
	fields := s.fieldsOf(t)
	for len(data) > 0 && s.weight <= maxWeight && level < deepest {
		number, wire, n := protowire.ConsumeTag(data)
		if n < 0 {
			return
		}
		data = data[n:]
		if n = protowire.ConsumeFieldValue(number, wire, data); n < 0 {
			return
		}
		if field, ok := fields[int(number)]; ok && wire == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(data)
			s.value(field, value, level)
		}
		data = data[n:]
	}
}

// value adds the value of a field, or one of them.
func (s *scale) value(t reflect.Type, data []byte, level int) {
	for t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer {
		t = t.Elem()
		if t.Kind() != reflect.Slice && t.Kind() != reflect.Pointer {
			s.weight += int(t.Size())
		}
	}
	switch t.Kind() { //nolint:exhaustive // the others hold nothing
	case reflect.Struct:
		s.message(t, data, level+1)
	case reflect.Map:
		s.weight += weightOfKey + 2*int(t.Key().Size()+t.Elem().Size())
	}
}

// fieldsOf reads the tags that Kubernetes generates: protobuf:"bytes,2,rep,name=items".
func (s *scale) fieldsOf(t reflect.Type) map[int]reflect.Type {
	if known, ok := s.known.Load(t); ok {
		return known.(map[int]reflect.Type) //nolint:forcetypeassert // nothing else is stored
	}
	fields := map[int]reflect.Type{}
	for field := range t.Fields() {
		parts := strings.SplitN(field.Tag.Get("protobuf"), ",", 3)
		if len(parts) < 2 {
			continue
		}
		if number, err := strconv.Atoi(parts[1]); err == nil {
			fields[number] = field.Type
		}
	}
	s.known.Store(t, fields)
	return fields
}
