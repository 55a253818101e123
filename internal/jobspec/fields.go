package jobspec

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// object is a JSON object whose values are read one by one, with the types that
// Prefect's marshmallow schemas ask for. Unknown keys are ignored.
type object struct {
	name string
	raw  map[string]json.RawMessage
}

func readObject(name string, raw json.RawMessage) (object, error) {
	if err := checkBounds(name, raw); err != nil {
		return object{}, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		if !json.Valid(raw) {
			return object{}, notJSON(name, err)
		}
		return object{}, &FieldError{Field: name, Value: string(raw), Problem: "is not an object", Mend: "register the flow again"}
	}
	return object{name: name, raw: fields}, nil
}

// text returns a string, nil if it is absent or null.
func (o object) text(key string) (*string, error) {
	raw := o.raw[key]
	if absent(raw) {
		return nil, nil
	}
	var value string
	if err := json.Unmarshal(raw, &value); err != nil {
		return nil, &FieldError{Field: o.name + "." + key, Problem: shorten(string(raw)) + " is not a valid string", Mend: "write it as text"}
	}
	return &value, nil
}

// texts returns a list of strings, nil if it is absent or null.
func (o object) texts(key string) ([]string, error) {
	raw := o.raw[key]
	if absent(raw) {
		return nil, nil
	}
	var items []*string
	if err := json.Unmarshal(raw, &items); err != nil {
		return nil, &FieldError{Field: o.name + "." + key, Value: string(raw), Problem: "is not a valid list of strings", Mend: "write it as a list of texts"}
	}
	values := make([]string, len(items))
	for i, item := range items {
		if item == nil {
			return nil, &FieldError{Field: fmt.Sprintf("%s.%s[%d]", o.name, key, i), Problem: "may not be null", Mend: "leave it out"}
		}
		values[i] = *item
	}
	return values, nil
}

// entries returns an object's members in their own order, as Python keeps it.
// Of members with one name the last value counts, in the place of the first.
func (o object) entries(key string) ([]entry, error) {
	raw := o.raw[key]
	if absent(raw) {
		return nil, nil
	}
	field := o.name + "." + key
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return nil, &FieldError{Field: field, Problem: "is not an object of names and values", Mend: `write it as {"NAME": "value"}`}
	}
	var list envList
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, notJSON(field, err)
		}
		var value any
		if err := decoder.Decode(&value); err != nil {
			return nil, notJSON(field, err)
		}
		text, _ := name.(string)
		list.set(entry{name: text, value: plainNumbers(value)})
	}
	return list.entries, nil
}
