package levels

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// Limits of CONTRIBUTING.md.
const (
	maxFileLines = 400
	maxFuncLines = 80
	maxParams    = 5
	maxFields    = 12
	maxMethods   = 5 // of an interface
)

// banned are words that name nothing of the domain.
var banned = []string{"manager", "resolver", "handler", "helper", "util", "utils", "common", "base"}

// source is a parsed file that is not a test.
type source struct {
	*ast.File
	fset *token.FileSet
	path string
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	for _, p := range packages(t) {
		for _, name := range p.GoFiles {
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, path.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, source{f, fset, path.Join(p.name(), name)})
		}
	}
	return all
}

// lines returns how many lines n spans.
func (s source) lines(n ast.Node) int {
	return s.fset.Position(n.End()).Line - s.fset.Position(n.Pos()).Line + 1
}

func TestSizes(t *testing.T) {
	for _, s := range sources(t) {
		if n := s.fset.File(s.FileStart).LineCount(); n > maxFileLines {
			t.Errorf("%s has %d lines", s.path, n)
		}
		ast.Inspect(s.File, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if lines := s.lines(n); lines > maxFuncLines {
					t.Errorf("%s: %s has %d lines", s.path, n.Name.Name, lines)
				}
				if params := n.Type.Params.NumFields(); params > maxParams {
					t.Errorf("%s: %s has %d parameters", s.path, n.Name.Name, params)
				}
			case *ast.TypeSpec:
				checkType(t, s, n)
			}
			return true
		})
	}
}

func checkType(t *testing.T, s source, spec *ast.TypeSpec) {
	t.Helper()
	switch typ := spec.Type.(type) {
	case *ast.StructType:
		if fields := typ.Fields.NumFields(); fields > maxFields {
			t.Errorf("%s: %s has %d fields", s.path, spec.Name.Name, fields)
		}
	case *ast.InterfaceType:
		if methods := typ.Methods.NumFields(); methods > maxMethods {
			t.Errorf("%s: %s has %d methods", s.path, spec.Name.Name, methods)
		}
	}
}

func TestNames(t *testing.T) {
	for _, s := range sources(t) {
		checkName(t, s.path, strings.TrimSuffix(path.Base(s.path), ".go"))
		checkName(t, s.path, s.Name.Name)
		for _, d := range s.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				checkName(t, s.path, d.Name.Name)
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if typ, ok := spec.(*ast.TypeSpec); ok {
						checkName(t, s.path, typ.Name.Name)
					}
				}
			}
		}
	}
}

func checkName(t *testing.T, file, name string) {
	t.Helper()
	for _, word := range words(name) {
		if slices.Contains(banned, word) {
			t.Errorf("%s: %s: the word %q says nothing", file, name, word)
		}
	}
}

// words splits a Go name or file name into its words, in lower case.
func words(name string) []string {
	var b strings.Builder
	for _, r := range name {
		switch {
		case unicode.IsUpper(r):
			b.WriteByte(' ')
			b.WriteRune(unicode.ToLower(r))
		case r == '_', r == '-', r == '.':
			b.WriteByte(' ')
		default:
			b.WriteRune(r)
		}
	}
	return strings.Fields(b.String())
}
