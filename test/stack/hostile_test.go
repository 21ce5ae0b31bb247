package stack_test

import (
	"os"
	"testing"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/stack"
	"github.com/ladle-dev/ladle/test/stacktest"
)

// What containerd itself accepts is what a snapshotter has to equal. The large
// images (hostile, -sparse, -wide, -deep) are left to the comparison.
func TestHostileImagesRunOnOverlayfs(t *testing.T) {
	s := stacktest.New(t, stack.Options{})
	for name, check := range map[string]string{
		"hostile-names":        `test "$(cat "/names/$(printf 'new\nline')")" = "name 0"; test -f /names/deep/ddd*/ddd*/ddd*/ddd*/ddd*/ddd*/ddd*/ddd*/ddd*/ddd*/ddd*/ddd*/ddd*/ddd*/ddd*/bottom`,
		"hostile-nodes":        `test "$(cat /nodes/twice)" = second; test "/nodes/group one" -ef /nodes/group/three; test -b /nodes/block`,
		"hostile-whiteouts":    `cd /whiteouts/below/below; test ! -e tree; test -d goes; test "$(ls opaque)" = replacement; test -f stays`,
		"hostile-escape":       `test "$(cat /escape-up)" = one; test "$(cat /tmp/ladle-escaped)" = seven; test /escape/hard-up -ef /escape/target`,
		"hostile-through-link": `test "$(cat /tmp/ladle-escaped)" = "written through a link"`,
		"hostile-parents":      `test "$(stat -c %a /parents/sub)" = 700; test -f /parents/new/deep/upper`,
	} {
		for _, format := range []image.Format{image.Gzip, image.EStargz, image.ZstdChunked} {
			t.Run(name+"/"+string(format), func(t *testing.T) {
				ref := s.Push(name, format)
				s.Pull("overlayfs", ref)
				s.Run("overlayfs", ref, "sh", "-exc", check)
			})
		}
	}
	for _, name := range []string{"/tmp/ladle-escaped", "/tmp/ladle-escaped-relative", "/escape-up", "/escape-absolute"} {
		if _, err := os.Lstat(name); err == nil {
			t.Errorf("%s was written on the host", name)
		}
	}
}
