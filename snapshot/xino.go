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

// xinoParameter has the kernel's default for mounts without the option. The file exists on
// kernels with the option (Linux 4.17).
const xinoParameter = "/sys/module/overlay/parameters/xino_auto"

// xino is the option of overlay mounts by which the files of all lowerdirs have the st_dev
// of the mount, and each a constant st_ino. Without the option overlayfs does so only if all
// layers are on one filesystem, which those of ladle are not. In other mounts the st_dev of
// a file changes when it is copied up, and the st_ino of a directory may change each time
// that the kernel looks it up (Linux
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
// compares no active snapshots: it commits them before. Its keys are no paths. Clients that
// mount a view for a person use paths as keys: ctr images mount uses the path of the
// target. A client without containerd's metadata before its keys is taken for BuildKit.
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
