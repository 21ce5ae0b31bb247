package snapshot

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
)

// TestXino looks for the option in mounts over a lazy and a local snapshot. What
// BuildKit compares, the views that it makes, has it in no case.
func TestXino(t *testing.T) {
	const inContainerd, direct, path = "ns/7/key", "5kyh0nzh7n5dqv7fxbzb3cyhn-view", "ns/7//mnt"
	for _, test := range []struct {
		setting string
		want    map[string]string // the option of an active snapshot, and of views by their key
	}{
		{"", map[string]string{"active": "xino=on", path: "xino=on"}},
		{XinoAuto, map[string]string{"active": "xino=on", path: "xino=on"}},
		{XinoOn, map[string]string{"active": "xino=on", path: "xino=on", inContainerd: "xino=on"}},
		{XinoOff, map[string]string{}},
	} {
		t.Run("setting "+test.setting, func(t *testing.T) {
			d := newDisk(t)
			s := newEndpoint(t, d, func(o *Options) { o.Xino = test.setting })
			prepareRemote(t, s, "remote", "", d.addLayer(t, "lazy", map[string]string{"f": "f"}))
			commitLocal(t, s, "local", "remote")
			commitLocal(t, s, "without", "")
			commitLocal(t, s, "without trees", "without")

			active, err := s.Prepare(t.Context(), "active", "local")
			if err != nil {
				t.Fatal(err)
			}
			checkXino(t, "active", active, test.want["active"])
			for _, key := range []string{inContainerd, direct, path} {
				view, err := s.View(t.Context(), key, "local")
				if err != nil {
					t.Fatal(err)
				}
				checkXino(t, key, view, test.want[key])
			}
			plain, err := s.Prepare(t.Context(), "plain", "without trees")
			if err != nil {
				t.Fatal(err)
			}
			checkXino(t, "a snapshot without trees", plain, "")
		})
	}
}

func checkXino(t *testing.T, of string, mounts []mount.Mount, want string) {
	t.Helper()
	var got []string
	for _, o := range mounts[0].Options {
		if strings.HasPrefix(o, "xino") {
			got = append(got, o)
		}
	}
	if want == "" && len(got) == 0 || slices.Equal(got, []string{want}) {
		files(t, mounts) // they can be mounted
		return
	}
	t.Errorf("mounts of %s have %v, want %q", of, got, want)
}

// TestXinoOfKernels is what kernels say that have another default, or do not
// know the option.
func TestXinoOfKernels(t *testing.T) {
	for _, test := range []struct{ parameter, setting, want string }{
		{"N\n", XinoAuto, "xino=on"}, {"Y\n", XinoAuto, "xino=on"}, {"", XinoAuto, ""},
		{"N\n", XinoOn, "xino=on"}, {"", XinoOn, ""},
		{"N\n", XinoOff, ""}, {"Y\n", XinoOff, "xino=off"}, {"", XinoOff, ""},
	} {
		parameter := filepath.Join(t.TempDir(), "xino_auto")
		if test.parameter != "" {
			if err := os.WriteFile(parameter, []byte(test.parameter), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		x, err := newXino(test.setting, parameter)
		if err != nil || x.option != test.want {
			t.Errorf("%s on a kernel that says %q: %q, %v, want %q", test.setting, test.parameter, x.option, err, test.want)
		}
	}
	if _, err := newXino("maybe", xinoParameter); err == nil {
		t.Error("xino may be maybe")
	}
}
