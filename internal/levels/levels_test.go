package levels

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const (
	module = "github.com/ladle-dev/ladle"
	root   = "../.."
)

// table is the level of each package. Packages below internal are for tests
// and tools: they may import all, and nothing in the table imports them. Level -1
// is "any" in ARCHITECTURE.md: packages of every level import it.
var table = map[string]int{
	"flight": -1, "inflate": -1, "keylock": -1, "lru": -1,
	module: 0, "auth": 0, "config": 0, "control": 0, "durable": 0, "metrics": 0, "tree": 0,
	"index": 1, "erofs": 1, "store": 1, "fetch": 1, "hardlink": 1, "metastore": 1, "install": 1, "idmap": 1,
	"layer": 2, "merge": 2, "settle": 2, "depot": 2,
	"stack": 3, "convert": 3, "indexer": 3, "inspect": 3,
	"snapshot": 4, "fs": 4, "takeover": 4, "cri": 4, "differ": 4,
	"cmd/snapshotter": 5,
}

// goPackage is what `go list -json` says of a package.
type goPackage struct {
	ImportPath, Dir, Doc               string
	GoFiles, TestGoFiles, XTestGoFiles []string
	Imports, TestImports, XTestImports []string
}

func (p goPackage) name() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

func (p goPackage) internal() bool { return strings.HasPrefix(p.name(), "internal/") }

// packages lists all packages of the module.
func packages(t *testing.T) []goPackage {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json", "./...")
	cmd.Dir = root
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []goPackage
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// own returns which of imports are of this module, without its path.
func own(imports []string) (names []string) {
	for _, i := range imports {
		if name, ok := strings.CutPrefix(i, module+"/"); ok {
			names = append(names, name)
		}
	}
	return names
}

func TestImportsGoDown(t *testing.T) {
	for _, p := range packages(t) {
		if p.internal() {
			continue
		}
		level, ok := table[p.name()]
		if !ok {
			t.Errorf("%s has no level: give it one in this table, in ARCHITECTURE.md and in .golangci.yml", p.name())
			continue
		}
		for _, imported := range own(p.Imports) {
			if l, ok := table[imported]; !ok || l >= level {
				t.Errorf("%s (level %d) imports %s (level %d)", p.name(), level, imported, l)
			}
		}
	}
}

func TestOnlyTheCommandImportsConfig(t *testing.T) {
	for _, p := range packages(t) {
		if p.name() == "cmd/snapshotter" || p.name() == "config" {
			continue
		}
		all := slices.Concat(p.Imports, p.TestImports, p.XTestImports)
		if slices.Contains(own(all), "config") {
			t.Errorf("%s imports config; give it Options instead", p.name())
		}
	}
}

func TestEveryPackageHasADoc(t *testing.T) {
	for _, p := range packages(t) {
		if p.Doc == "" {
			t.Errorf("%s has no package comment", p.name())
		}
		if _, err := os.Stat(path.Join(p.Dir, "doc.go")); err != nil {
			t.Errorf("%s: %v", p.name(), err)
		}
	}
}

// TestTableIsComplete looks for packages of the table that are gone.
func TestTableIsComplete(t *testing.T) {
	there := map[string]bool{}
	for _, p := range packages(t) {
		there[p.name()] = true
	}
	for name := range table {
		if !there[name] {
			t.Errorf("%s: there is no such package", name)
		}
	}
}

// TestTableIsWrittenDown compares the table with the copies for readers and
// editors.
func TestTableIsWrittenDown(t *testing.T) {
	for _, file := range []string{"ARCHITECTURE.md", ".golangci.yml"} {
		text, err := os.ReadFile(path.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		for name := range table {
			if !strings.Contains(string(text), name) {
				t.Errorf("%s says nothing about %s", file, name)
			}
		}
	}
}
