package config

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

const examplePath = "../config.toml.example"

// code is a line of TOML in the example that is commented out: "#key", where
// prose has "# Word".
var code = regexp.MustCompile(`(?m)^#(\[|[a-z])`)

func example(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(examplePath)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestExampleIsTheDefault(t *testing.T) {
	c, err := Load(examplePath)
	if err != nil {
		t.Fatal(err)
	}
	if want := Default(); !reflect.DeepEqual(c, want) {
		t.Errorf("the example says\n%+v\nthe defaults are\n%+v", c, want)
	}
}

// TestExampleHasEveryKey looks for each key of Config in the example with its
// commented code put in force.
func TestExampleHasEveryKey(t *testing.T) {
	text := code.ReplaceAllString(example(t), "$1")
	c, err := Parse(examplePath, text)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	var doc map[string]any
	if err := toml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	for _, key := range knownKeys() {
		if !mentions(doc, key) {
			t.Errorf("the example has no %s", strings.Join(key, "."))
		}
	}
}

func mentions(value any, key []string) bool {
	if len(key) == 0 {
		return true
	}
	switch v := value.(type) {
	case []any:
		return len(v) > 0 && mentions(v[0], key)
	case map[string]any:
		if key[0] != anyName {
			next, ok := v[key[0]]
			return ok && mentions(next, key[1:])
		}
		for _, next := range v {
			return mentions(next, key[1:])
		}
	}
	return false
}

// TestExampleExplainsEveryKey wants prose right above each key.
func TestExampleExplainsEveryKey(t *testing.T) {
	lines := strings.Split(example(t), "\n")
	key := regexp.MustCompile(`^#?[a-z_]+ = `)
	for i, line := range lines {
		if key.MatchString(line) && !strings.HasPrefix(lines[i-1], "# ") {
			t.Errorf("%s:%d: nothing is said about %s", examplePath, i+1, line)
		}
	}
}

// TestDocumentationHasEveryKey wants each key in docs/configuration.md, those
// of stargz-snapshotter that have no counterpart included.
func TestDocumentationHasEveryKey(t *testing.T) {
	text, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range knownKeys() {
		if last := key[len(key)-1]; last != anyName && !strings.Contains(string(text), last) {
			t.Errorf("nothing about %s", strings.Join(key, "."))
		}
	}
	for key := range stargzOnly {
		if !strings.Contains(string(text), "`"+key+"`") && !strings.Contains(string(text), "`["+key+"]`") {
			t.Errorf("nothing about stargz-snapshotter's %s", key)
		}
	}
}

// TestStargzKeysAreUnknown fails when a key gets a meaning here and is still
// said to have none.
func TestStargzKeysAreUnknown(t *testing.T) {
	for key := range stargzOnly {
		if knownKeys().has(strings.Split(key, ".")) {
			t.Errorf("%s is known", key)
		}
	}
}
