package snapshot

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots"

	"github.com/ladle-dev/ladle/stack"
)

// Values of Options.Xino.
const (
	XinoAuto = "auto" // the option xino=on in mounts whose client takes it
	XinoOn   = "on"   // in all mounts of trees for clients of containerd
	XinoOff  = "off"  // xino=off instead, where the kernel would else do it
)

// xinoParameter is what the kernel does with mounts that do not say it. It is
// there on kernels that know the option (Linux 4.17).
const xinoParameter = "/sys/module/overlay/parameters/xino_auto"

// xino is the option of overlay mounts by which files of all lowerdirs have the
// st_dev of the mount, and st_ino that remain. Without it overlayfs gives that
// only to mounts whose layers are all on one filesystem, and ladle's never are:
// there a file has another st_dev before it is copied up than after, and a
// directory another st_ino each time that the kernel looked it up anew (Linux
// Documentation/filesystems/overlayfs.rst, "Inode properties").
type xino struct {
	option string // "" for none
	views  bool   // views have it, too
}

// newXino finds out what setting means to the kernel. parameter is the path of
// its xinoParameter.
func newXino(setting, parameter string) (xino, error) {
	value, err := os.ReadFile(parameter)
	known := err == nil
	switch setting {
	case "", XinoAuto, XinoOn:
		if !known {
			return xino{}, nil
		}
		return xino{option: "xino=on", views: setting == XinoOn}, nil
	case XinoOff:
		if strings.TrimSpace(string(value)) != "Y" {
			return xino{}, nil
		}
		return xino{option: "xino=off"}, nil
	}
	return xino{}, fmt.Errorf("xino %q is none of %s, %s, %s", setting, XinoAuto, XinoOn, XinoOff)
}

// of returns the option of a mount that shows lowers, or "". If all lowers are
// directories they are on one filesystem, and the kernel needs none.
//
// BuildKit compares views by their options, and fails where it does not know one
// (v0.26 to v0.34, util/overlay, GetOverlayLayers, and snapshot/diffapply_linux.go). It
// compares no active snapshots: it commits them before. Its keys are no paths,
// while the keys of clients that mount a view for somebody to look at are: ctr
// images mount has the path of the target. A client without containerd's metadata
// before its keys is supposed to be BuildKit.
func (x xino) of(kind snapshots.Kind, key string, lowers []stack.Lower) string {
	if !slices.ContainsFunc(lowers, stack.Lower.IsTree) {
		return ""
	}
	_, name, ofContainerd := cutKey(key)
	if kind != snapshots.KindActive && !filepath.IsAbs(name) && !(x.views && ofContainerd) {
		return ""
	}
	return x.option
}
