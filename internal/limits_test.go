package internal_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The table in docs/limits.md has a row for each call that waits for somebody else, and
// none for another.
func TestLimits(t *testing.T) {
	t.Parallel()
	var rows []string
	for _, row := range tableOf(t, "limits", 5) {
		rows = append(rows, row[0])
		if slices.Contains(row, "") {
			t.Errorf("%s: a cell is empty", row[0])
		}
	}
	slices.Sort(rows)
	calls := slices.Concat(callers(t, "prefect1"), waits(t, "kube", "Client", "Watch"), waits(t, "template", "Loader"))
	slices.Sort(calls)
	if diff := cmp.Diff(rows, calls); diff != "" {
		t.Errorf("docs/limits.md and the code differ (-table +code):\n%s", diff)
	}
}

// callers are the functions of a package that send an operation.
func callers(t *testing.T, pkg string) (names []string) {
	t.Helper()
	ways := []string{"call", "repeat", "once"}
	for _, f := range functions(t, pkg) {
		sends := false
		ast.Inspect(f.Body, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && slices.Contains(ways, s.Sel.Name) {
				sends = true
			}
			return true
		})
		if sends && !slices.Contains(ways, f.Name.Name) {
			names = append(names, pkg+"."+f.Name.Name)
		}
	}
	return names
}

// waits are the exported methods of some types that take a context.
func waits(t *testing.T, pkg string, types ...string) (names []string) {
	t.Helper()
	for _, f := range functions(t, pkg) {
		kind := receiver(f)
		if slices.Contains(types, kind) && f.Name.IsExported() && len(f.Type.Params.List) > 0 && isContext(f.Type.Params.List[0].Type) {
			names = append(names, pkg+"."+kind+"."+f.Name.Name)
		}
	}
	return names
}

func isContext(e ast.Expr) bool {
	s, ok := e.(*ast.SelectorExpr)
	return ok && s.Sel.Name == "Context"
}

// receiver is the type of a method, without pointer and type parameters.
func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	e := f.Recv.List[0].Type
	for {
		switch of := e.(type) {
		case *ast.StarExpr:
			e = of.X
		case *ast.IndexExpr:
			e = of.X
		case *ast.IndexListExpr:
			e = of.X
		case *ast.Ident:
			return of.Name
		default:
			return ""
		}
	}
}

// functions are those of a package, without its tests.
func functions(t *testing.T, pkg string) (all []*ast.FuncDecl) {
	t.Helper()
	err := filepath.WalkDir(pkg, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Body != nil {
				all = append(all, f)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
