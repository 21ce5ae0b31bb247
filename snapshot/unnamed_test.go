package snapshot

import (
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
)

// The log line of a layer that no client names says which setting makes them,
// where the key tells, and that of one that is named says of which image it is.
func TestLogOfUnnamedLayers(t *testing.T) {
	for name, test := range map[string]struct {
		key, ref string
		want     []string
	}{
		"CRI":        {"k8s.io/7/extract-1-a sha256:0", "t", []string{"disable_snapshot_annotations = false"}},
		"others":     {"default/7/extract-1-a sha256:0", "t", []string{"enable_remote_snapshot_annotations"}},
		"no spaces":  {"extract-1-a sha256:0", "t", []string{"enable_remote_snapshot_annotations"}},
		"unasked":    {"default/7/extract-123456789-aB_- sha256:0", "", []string{"content store", "target=\"sha256:0\""}},
		"CRI's own":  {"k8s.io/7/extract-123456789-aB_- sha256:0", "", []string{"content store"}},
		"BuildKit":   {"buildkit/7/extract-0a1b2c3d4e5f6g7h8i9j0klmn sha256:0", "", nil},
		"containers": {"default/7/extract-1", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newEndpoint(t, newDisk(t))
			ctx, lines := withLog(t.Context())
			labels := map[string]string{}
			if test.ref != "" {
				labels[snapshots.LabelSnapshotRef] = test.ref
			}
			if _, err := s.Prepare(ctx, test.key, "", snapshots.WithLabels(labels)); err != nil {
				t.Fatal(err)
			}
			text := lines.take()
			if n := strings.Count(text, preparedField+"=false"); (n == 1) != (test.want != nil) || n > 1 {
				t.Errorf("log is\n%s", text)
			}
			for _, want := range test.want {
				if !strings.Contains(strings.ReplaceAll(text, `\"`, `"`), want) {
					t.Errorf("log has no %q:\n%s", want, text)
				}
			}
		})
	}
}
