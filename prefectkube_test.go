package prefectkube

import (
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/config"
)

// Every option says something, and says it with a flag that the command has.
func TestOptionsReachTheCommand(t *testing.T) {
	t.Parallel()
	check(t, Options.flags, func(Options) []config.Setting { return config.AgentSettings(config.Core1) })
	check(t, InstallOptions.flags, func(o InstallOptions) []config.Setting { return config.InstallSettings(o.core()) })
}

// Start says what is wrong before it waits for anything.
func TestStartRefusesWhatCannotBeUsed(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"no cluster":    {API: "http://127.0.0.1:1", Key: "k", Kubeconfig: filepath.Join(t.TempDir(), "none")},
		"no credential": {},
	} {
		agent, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := errors.AsType[*ArgumentError](agent.Start(t.Context())); !ok {
			t.Errorf("%s: no argument is named", name)
		}
	}
}

func check[T any](t *testing.T, flags func(T) map[string][]string, settings func(T) []config.Setting) {
	t.Helper()
	kind := reflect.TypeFor[T]()
	for i := range kind.NumField() {
		var o T
		name := kind.Field(i).Name
		if slices.Contains([]string{"Logger", "Version", "Volumes", "VolumeMounts"}, name) { // they go past the command line
			continue
		}
		fill(reflect.ValueOf(&o).Elem().Field(i))
		said := flags(o)
		if len(said) != 1 {
			t.Errorf("%s.%s says %v, want one flag", kind, name, said)
		}
		for flag := range said {
			if !slices.ContainsFunc(settings(o), func(s config.Setting) bool {
				return slices.ContainsFunc(s.Flags, func(f config.Flag) bool { return f.Name == flag })
			}) {
				t.Errorf("%s.%s says --%s, which the command does not have", kind, name, flag)
			}
		}
	}
}

// fill sets something that is not the zero value.
func fill(v reflect.Value) {
	switch kind := v.Kind(); {
	case v.CanInt():
		v.SetInt(1)
	case kind == reflect.String:
		v.SetString("x")
	case kind == reflect.Bool:
		v.SetBool(true)
	case kind == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case kind == reflect.Struct:
		for _, field := range v.Fields() {
			fill(field)
		}
	case kind == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	default:
		panic("option of kind " + kind.String())
	}
}
