package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/ladle-dev/ladle/install"
)

const chartDir = "../../deploy/helm/ladle"

// TestDaemonSetUsesWhatThereIs looks for the flags that the pods of the Helm chart use among
// those of `ladle install`, and compares the flavors.
func TestDaemonSetUsesWhatThereIs(t *testing.T) {
	var known []string
	for _, f := range installCommand().Flags {
		known = append(known, f.Names()...)
	}
	used := map[string]bool{}
	for _, name := range []string{"daemonset.yaml", "_names.tpl"} {
		text, err := os.ReadFile(filepath.Join(chartDir, "templates", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^ *- --([a-z-]+)`).FindAllStringSubmatch(string(text), -1) {
			used[m[1]] = true
			if !slices.Contains(known, m[1]) {
				t.Errorf("%s: ladle install has no flag --%s", name, m[1])
			}
		}
	}
	for _, name := range []string{"enter", "check", "undo", "config-from", "every"} {
		if !used[name] {
			t.Errorf("no pod uses --%s", name)
		}
	}
	text, err := os.ReadFile(filepath.Join(chartDir, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Properties struct {
			Flavor struct{ Enum []string }
		}
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	want := slices.Concat([]string{"auto"}, install.Flavors)
	if got := schema.Properties.Flavor.Enum; !slices.Equal(got, want) {
		t.Errorf("flavors are %q, and ladle install has %q", got, want)
	}
}
