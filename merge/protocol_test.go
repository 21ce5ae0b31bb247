package merge_test

import (
	"os"
	"strings"
	"testing"

	"github.com/ladle-dev/ladle/merge"
)

// TestProtocolHasEveryLabel looks for each label of merges and copies in docs/protocol.md,
// from which clients are written.
func TestProtocolHasEveryLabel(t *testing.T) {
	text, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	labels := []string{
		merge.LabelPrefix + "<n>.lower", merge.LabelPrefix + "<n>.upper", merge.AnswerLabel, merge.CopiedLabel,
	}
	for label := range (merge.CopyRequest{}).Labels() {
		labels = append(labels, label)
	}
	for _, label := range labels {
		if !strings.Contains(string(text), label) {
			t.Errorf("docs/protocol.md does not have the label %s", label)
		}
	}
}
