package install

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Purge leaves nothing behind of what ARCHITECTURE.md says that the daemon has on disk, such as
// sealed credentials.
func TestPurgeKnowsAllState(t *testing.T) {
	text, err := os.ReadFile("../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## On disk\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var want []string
	for _, found := range regexp.MustCompile(`(?m)^ROOT/([a-z]+)`).FindAllStringSubmatch(section, -1) {
		want = append(want, found[1])
	}
	slices.Sort(want)
	have := slices.Sorted(slices.Values(stateNames))
	if want = slices.Compact(want); !slices.Equal(have, want) {
		t.Errorf("Purge removes %v, the daemon has %v", have, want)
	}
}
