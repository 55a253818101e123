package graphql

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math"
	"strconv"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/devserver/store"
)

// object is a part of an answer: exactly the selected keys, in their order.
type object struct {
	keys   []string
	values []any
}

func (o *object) set(key string, value any) {
	o.keys = append(o.keys, key)
	o.values = append(o.values, value)
}

// jsonText is JSON as the database has it. Many keys may share one text.
type jsonText string

// encoder writes an answer and stops at a limit: rows that many parents share
// stand once in memory but many times in the text.
type encoder struct {
	b     *bytes.Buffer
	limit int
	over  bool
}

// writeJSON appends a value of an answer without a limit.
func writeJSON(b *bytes.Buffer, v any) {
	e := encoder{b: b, limit: math.MaxInt}
	e.write(v)
}

func (e *encoder) write(v any) {
	if e.over = e.over || e.b.Len() > e.limit; e.over {
		return
	}
	switch v := v.(type) {
	case nil:
		e.b.WriteString("null")
	case *object:
		e.object(v)
	case []any:
		e.list(v)
	case int64:
		e.b.WriteString(strconv.FormatInt(v, 10))
	case bool:
		e.b.WriteString(strconv.FormatBool(v))
	case json.RawMessage:
		if len(v) == 0 {
			v = json.RawMessage("null")
		}
		e.b.Write(v)
	case jsonText:
		e.b.WriteString(cmp.Or(string(v), "null"))
	case time.Time:
		e.encode(store.FormatTime(v))
	case fields:
		o := &object{}
		for _, name := range v.names {
			o.set(name, v.values[name])
		}
		e.object(o)
	default:
		e.encode(v)
	}
}

func (e *encoder) object(o *object) {
	if o == nil {
		e.b.WriteString("null")
		return
	}
	e.b.WriteByte('{')
	for i, key := range o.keys {
		if i > 0 {
			e.b.WriteByte(',')
		}
		// Keys are names or aliases, which need no escapes.
		e.b.WriteByte('"')
		e.b.WriteString(key)
		e.b.WriteString(`":`)
		e.write(o.values[i])
	}
	e.b.WriteByte('}')
}

func (e *encoder) list(list []any) {
	e.b.WriteByte('[')
	for i, one := range list {
		if i > 0 {
			e.b.WriteByte(',')
		}
		e.write(one)
	}
	e.b.WriteByte(']')
}

func (e *encoder) encode(v any) {
	enc := json.NewEncoder(e.b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		e.b.WriteString("null")
		return
	}
	e.b.Truncate(e.b.Len() - 1)
}
