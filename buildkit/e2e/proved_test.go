package e2e

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/buildkit/worker"
	"github.com/ladle-dev/ladle/test/image"
)

// Builds go on over layers of which the diffID was proved: BuildKit names the snapshot of a
// lazily read layer by more than its diffID.
func TestBuildsOverProvedLayers(t *testing.T) {
	l := newLab(t, labOptions{kinds: trusting, fills: true, recipe: smallRecipe})
	shell := l.shell()
	ladle := func() string {
		text, err := os.ReadFile(l.Node.Daemon(plugin).LogFile)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	made := map[string]twoLayers{}
	refs := map[string]string{}
	for _, kind := range trusting {
		of := l.twoLayers("proved-"+kind, image.EStargz)
		made[kind], refs[kind] = of, l.pushed("proved", kind, of.low, shell, of.top)
		if err := l.reads(kind, refs[kind], of.text, of.text); err != nil { // all of both layers
			t.Fatal(err)
		}
	}
	proved := func(layer forged) bool {
		blob := digest.FromBytes(layer.blob).String()
		for line := range strings.Lines(ladle()) {
			if strings.Contains(line, "layer is proved") && strings.Contains(line, blob) {
				return true
			}
		}
		return false
	}
	for _, kind := range trusting {
		for _, layer := range []forged{made[kind].low, made[kind].top} {
			for deadline := time.Now().Add(time.Minute); !proved(layer); time.Sleep(50 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("%s: a layer is not proved within a minute", kind)
				}
			}
		}
	}
	if strings.Contains(ladle(), "an image claims") {
		t.Error("an image is said to lie")
	}
	for _, kind := range trusting {
		dir := l.project(map[string]string{"Dockerfile": "ARG IMAGE\nFROM ${IMAGE}\nARG WANT\nRUN test \"$(cat /low /top)\" = ${WANT}${WANT}\n"})
		b := worker.Build{Dir: dir, Args: map[string]string{"IMAGE": refs[kind], "WANT": made[kind].text}}
		if _, err := l.try(kind, b, "", ""); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	l.pruneAll()
}
