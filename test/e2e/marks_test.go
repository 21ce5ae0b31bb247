package e2e

import (
	"maps"
	"strings"
	"testing"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/sametree"
)

// Attributes by which overlayfs marks its own files mean nothing in an image. Those
// of the class trusted nobody unpacks. Attributes user.overlay.* are ordinary ones
// on overlayfs, and are left out of what is lazy (docs/troubleshooting.md).
func TestMarksOfOverlayfsInAnImage(t *testing.T) {
	l := newLab(t, oneOfEach("")...)
	want, began := l.overlayfs("hostile-marks")
	if n := userMarks(want); n != 4 {
		t.Errorf("overlayfs shows %d attributes user.overlay.*; want 4: docs/troubleshooting.md says something else", n)
	}
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			l := l.as(t)
			ref := l.Push("hostile-marks", image.EStargz)
			l.Pull("ladle-"+driver, ref)
			got := l.list("ladle-"+driver, ref)
			if n := userMarks(got); n != 0 {
				t.Errorf("%d attributes user.overlay.*", n)
			}
			l.same(began, withoutUserMarks(want), got)

			out := l.Run("ladle-"+driver, ref, "sh", "-c", "cat /marks/file /marks/opaque/* && ls /marks/redirected")
			if out != "upper\nlower\nupper\n" {
				t.Errorf("the container prints %q", out)
			}
		})
	}
}

// isUserMark reports whether an attribute of a listing is user.overlay.*.
func isUserMark(name, _ string) bool { return strings.HasPrefix(name, `xattr "user.overlay.`) }

func userMarks(l sametree.Listing) (n int) {
	for _, attributes := range l {
		for name := range attributes {
			if isUserMark(name, "") {
				n++
			}
		}
	}
	return n
}

func withoutUserMarks(l sametree.Listing) sametree.Listing {
	without := sametree.Listing{}
	for path, attributes := range l {
		without[path] = maps.Clone(attributes)
		maps.DeleteFunc(without[path], isUserMark)
	}
	return without
}
