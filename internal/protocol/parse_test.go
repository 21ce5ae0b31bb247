package protocol

import (
	"errors"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// names is what source code says of the protocol.
type names struct {
	strings map[string]bool     // literals, and values of constant expressions
	structs []map[string]string // types of fields by their name in JSON
}

// noImports is a types.Importer without packages: constants are known without them.
type noImports struct{}

func (noImports) Import(string) (*types.Package, error) { return nil, errors.New("not imported") }

// parse reads the packages in dirs without their tests.
func parse(t *testing.T, dirs ...string) names {
	t.Helper()
	all := names{strings: map[string]bool{}}
	for _, dir := range dirs {
		paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		fset := token.NewFileSet()
		var files []*ast.File
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
		if len(files) == 0 {
			t.Fatalf("%s has no Go files", dir)
		}
		info := types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
		conf := types.Config{Importer: noImports{}, Error: func(error) {}} // of what is not imported
		_, _ = conf.Check(dir, fset, files, &info)
		for _, v := range info.Types {
			if v.Value != nil && v.Value.Kind() == constant.String {
				all.strings[constant.StringVal(v.Value)] = true
			}
		}
		for _, f := range files {
			ast.Inspect(f, all.add)
		}
	}
	return all
}

// add adds what node itself has, without what it consists of. It returns true.
func (n *names) add(node ast.Node) bool {
	switch node := node.(type) {
	case *ast.BasicLit:
		if s, err := strconv.Unquote(node.Value); err == nil && node.Kind == token.STRING {
			n.strings[s] = true
		}
	case *ast.StructType:
		members := map[string]string{}
		for _, field := range node.Fields.List {
			if field.Tag == nil {
				continue
			}
			tag := reflect.StructTag(strings.Trim(field.Tag.Value, "`"))
			if name, _, _ := strings.Cut(tag.Get("json"), ","); name != "" {
				members[name] = types.ExprString(field.Type)
			}
		}
		if len(members) > 0 {
			n.structs = append(n.structs, members)
		}
	}
	return true
}
