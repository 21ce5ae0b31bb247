package kubelet

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/test/image"
)

// weights is how many bytes the model of TestImageVolume has.
const weights = 64 << 20

// An image is a volume of two containers, one of which sees a directory of it, and of a pod
// that is made after the first is gone. What nobody reads of it is not fetched.
func TestImageVolume(t *testing.T) {
	l := newLab(t, onlyDemand)
	ref := l.Push("busybox", image.EStargz)
	volume := l.pushWeights(weights)
	before := l.Link.Counters().BytesDown
	for _, name := range []string{"volume", "again"} {
		pod := Pod{Name: name, Volumes: map[string]string{"model": volume}, Containers: []Container{
			{Name: "c", Image: ref, Command: sleep, Mounts: []Mount{{Volume: "model", Path: "/model"}}},
			{Name: "d", Image: ref, Command: sleep, Mounts: []Mount{{Volume: "model", Path: "/etc-of-model", SubPath: "etc"}}},
		}}
		status := l.apply(pod)
		if out := l.exec(status.Name, "head", "-c", "8", "/model/"+image.WeightsPath); out != "\x01\x00\x00\x00\x00\x00\x00\x00" {
			t.Errorf("the model begins with %q", out)
		}
		out, err := l.k.Exec(t.Context(), status.Name, "d", "cat", "/etc-of-model/passwd")
		if err != nil || !strings.HasPrefix(out, "root:x:0:0:") {
			t.Errorf("the directory of the volume has %q, %v", out, err)
		}
		if _, err := l.k.Exec(t.Context(), status.Name, "c", "touch", "/model/x"); err == nil || !strings.Contains(err.Error(), "Read-only file system") {
			t.Errorf("writing to the volume: %v", err)
		}
		l.remove(pod)
		l.wait("the volume is taken away", func() error { return l.noVolumes() })
	}
	if fetched := l.Link.Counters().BytesDown - before; fetched > weights/8 {
		t.Errorf("%.1f MB were fetched for the first bytes of a model", float64(fetched)/1e6)
	}
}

// pushWeights puts an image with a model of so many bytes in the registry.
func (l lab) pushWeights(bytes int64) (ref string) {
	l.Helper()
	model, err := l.Cache.Make(l.Context(), image.Weights(bytes), image.EStargz)
	if err != nil {
		l.Fatal(err)
	}
	to, err := l.Registry.Push(l.Context(), model)
	if err != nil {
		l.Fatal(err)
	}
	return l.Link.Addr() + "/" + to
}

// It prints how long it takes until the first and the last byte of a model are read that
// was never on the node, from the pod's manifest on. WEIGHTS in the environment is how many
// MiB the model has.
func TestFirstByte(t *testing.T) {
	size := int64(256)
	if text := os.Getenv("WEIGHTS"); text != "" {
		var err error
		if size, err = strconv.ParseInt(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	l := newLab(t, "")
	ref, volume := l.Push("busybox", image.EStargz), l.pushWeights(size<<20)
	l.apply(sleeper("first", ref)) // the image of pods and that of the container are there
	file := "/model/" + image.WeightsPath
	began := time.Now()
	name, err := l.k.Apply(Pod{Name: "model", Volumes: map[string]string{"model": volume}, Containers: []Container{{
		Name: "c", Image: ref, Mounts: []Mount{{Volume: "model", Path: "/model"}},
		Command: []string{"sh", "-c", "head -c 1 " + file + " | wc -c; tail -c 1 " + file + " | wc -c; exec sleep 100000"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	for i, what := range []string{"first", "last"} {
		l.wait("the "+what+" byte", func() error {
			log, err := l.k.Logs(t.Context(), name, "c")
			if err == nil && strings.Count(log, "1\n") <= i {
				err = fmt.Errorf("the log is %q", log)
			}
			return err
		})
		t.Logf("%s byte of %d MiB: %.1f s after the manifest, %.1f MB fetched", what, size, time.Since(began).Seconds(), float64(l.Link.Counters().BytesDown)/1e6)
	}
}

// noVolumes is an error if an image is mounted as a volume.
func (l lab) noVolumes() error {
	left, err := l.Node.Mounts()
	if err != nil {
		return err
	}
	for _, point := range left {
		if strings.Contains(point, "/image-volumes/") {
			return fmt.Errorf("mounted at %s", point)
		}
	}
	return nil
}
