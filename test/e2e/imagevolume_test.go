package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/stack"
	"github.com/ladle-dev/ladle/test/stacktest"
)

// handlers are runtimes of one containerd, as RuntimeClasses name them, and their
// snapshotters. That without a name is the default.
var handlers = []struct{ name, snapshotter string }{
	{"overlayfs", "overlayfs"}, {"", "ladle-erofs"}, {"ladle-fuse", "ladle-fuse"},
}

// withHandlers adds the runtimes of handlers to containerd's configuration, as
// docs/kubernetes.md says, and lets CRI look each second at what snapshots take.
func withHandlers(config string) string {
	const line = "  snapshotter = \"ladle-erofs\"\n"
	config = strings.Replace(config, line, line+"  stats_collect_period = 1\n", 1)
	for _, h := range handlers {
		if h.name != "" {
			config += fmt.Sprintf(`[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.%s]
  runtime_type = "io.containerd.runc.v2"
  snapshotter = %q
`, h.name, h.snapshotter)
		}
	}
	return config
}

// bundled is an image with a directory that its configuration declares as a volume, and
// much else.
var bundled = image.Recipe{
	Name: "bundled", Version: 2, Config: bundledConfig(),
	Layers: func(image.Env) ([]image.Layer, error) {
		random := rand.NewChaCha8([32]byte{1})
		noise := func(bytes int) []byte {
			b := make([]byte, bytes)
			random.Read(b)
			return b
		}
		var files []image.File
		for i := range dataFiles {
			files = append(files, image.File{Name: fmt.Sprintf("data/%02d", i), Mode: 0o640, Content: noise(dataBytes / dataFiles)})
		}
		return image.OnBusybox(image.Files(append(files, image.File{Name: "other", Mode: 0o644, Content: noise(otherBytes)})...))
	},
}

const (
	dataFiles  = 40
	dataBytes  = 5 << 20
	otherBytes = 24 << 20
)

// aheadBytes is what a reader that reads in order can have fetched beyond its end: one
// window of layer/readahead.go and the first part of the next one.
const aheadBytes = 6 << 20

func bundledConfig() v1.Config {
	c := image.BusyboxConfig()
	c.Volumes = map[string]struct{}{"/data": {}}
	return c
}

// Pods of three runtimes on one node have overlayfs and two drivers of ladle. In each, an
// image is a volume of two containers, which see the same in it: one that has the same
// image as its root, and one that sees a directory of it. They go on when ladle and
// containerd are restarted, and so does a container that is made then.
func TestImageVolumes(t *testing.T) {
	var daemons []stack.Daemon
	for _, driver := range []string{"erofs", "fuse"} {
		config := fmt.Sprintf("driver = %q\n%s", driver, onlyDemand)
		daemons = append(daemons, asService(t, stack.Ladle("ladle-"+driver, config)))
	}
	l := lab{T: stacktest.New(t, stack.Options{
		Daemons: daemons, CRISnapshotter: "ladle-erofs", Containerd: stack.Containerd{Edit: withHandlers},
	})}
	l.Push("pause", image.Gzip)
	var want []string
	for _, h := range handlers {
		format := image.EStargz
		if h.snapshotter == "overlayfs" {
			format = image.Gzip // it would show the table of contents
		}
		ref, volume := l.Push("shell", format), l.Push("hostile-whiteouts", format)
		img, err := l.Cache.Make(t.Context(), bundled, format)
		if err != nil {
			t.Fatal(err)
		}
		declared := l.push(img)
		t.Run(h.snapshotter, func(t *testing.T) {
			p := l.as(t).podOf(h.name, h.snapshotter, ref, volume, declared)
			defer p.remove()
			got := p.volumes(ref, volume)
			if want == nil {
				want = got
			}
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("%d: the runtime shows\n%s\nand overlayfs\n%s", i, got[i], want[i])
				}
			}
			p.declares(declared)
			if h.name == "" { // containerd counts nothing of other runtimes' snapshotters
				p.counts(ref)
			}
		})
	}
}

// volumes is what containers see of an image that is a volume of them: all of it, a
// directory of it before and after a restart, all of it in a container that is made
// after that, and what comes of writing to it.
func (p *podOn) volumes(ref, volume string) (seen []string) {
	p.Helper()
	root := p.container(volume, imageMount(volume, ""))
	part := p.container(ref, imageMount(volume, "whiteouts"))
	seen = []string{p.tree(root, "/volume"), p.tree(part, "/volume")}
	if p.snapshotter != "overlayfs" {
		p.restart()
	}
	later := p.container(ref, imageMount(volume, ""))
	seen = append(seen, p.tree(part, "/volume"), p.tree(later, "/volume"), p.shell(later, "touch /volume/x 2>&1 || true"))
	if seen[0] != seen[3] || seen[1] != seen[2] || !strings.Contains(seen[0], "/volume/whiteouts/stays") {
		p.Errorf("the volume shows\n%s\nand a directory of it\n%s\nand later\n%s\n%s", seen[0], seen[1], seen[3], seen[2])
	}
	if !strings.Contains(seen[4], "Read-only file system") {
		p.Errorf("writing to the volume: %s", seen[4])
	}
	return seen
}

// declares makes a container of an image that declares a volume. It gets the directory of
// the image, and with ladle nothing else is read.
func (p *podOn) declares(ref string) {
	p.Helper()
	before := p.Link.Counters().BytesDown
	c := p.container(ref)
	if out := p.shell(c, "cat /data/* | wc -c; stat -c %a /data/07; touch /data/new"); out != fmt.Sprintf("%d\n640", dataBytes) {
		p.Errorf("the declared volume has %q", out)
	}
	fetched := p.Link.Counters().BytesDown - before
	p.Logf("%d bytes were fetched for a declared volume of %d", fetched, dataBytes)
	if p.snapshotter != "overlayfs" && (fetched < dataBytes || fetched > dataBytes+aheadBytes) {
		p.Error("that is not the directory and what is read ahead")
	}
}

// counts writes into a container, and waits until CRI says so of it, and of the filesystem
// of images, which is that of the snapshotter.
func (p *podOn) counts(ref string) {
	p.Helper()
	const written = 3 << 20
	id := p.container(ref)
	p.shell(id, fmt.Sprintf("head -c %d /dev/urandom > /written", written))
	runtime, images := p.criClient()
	wait(p, "CRI counts what was written", func() bool {
		reply, err := runtime.ContainerStats(p.Context(), &cri.ContainerStatsRequest{ContainerId: id})
		used := reply.GetStats().GetWritableLayer().GetUsedBytes().GetValue()
		return err == nil && used >= written && used < 2*written
	})
	root := p.Node.Daemon(p.snapshotter).Root
	wait(p, "CRI counts the images at "+root, func() bool {
		reply, err := images.ImageFsInfo(p.Context(), &cri.ImageFsInfoRequest{})
		return err == nil && slices.ContainsFunc(reply.ImageFilesystems, func(f *cri.FilesystemUsage) bool {
			return f.GetFsId().GetMountpoint() == root && f.GetUsedBytes().GetValue() >= written && f.GetInodesUsed().GetValue() > 0
		})
	})
}

// podOn is a pod of a runtime.
type podOn struct {
	lab
	snapshotter string
	config      *cri.PodSandboxConfig
	id          string
	made        int // containers
}

// podOf pulls images for a runtime and starts a pod.
func (l lab) podOf(handler, snapshotter string, refs ...string) *podOn {
	l.Helper()
	runtime, images := l.criClient()
	config := &cri.PodSandboxConfig{
		Metadata: &cri.PodSandboxMetadata{Name: "pod", Uid: snapshotter, Namespace: "test"},
		Linux: &cri.LinuxPodSandboxConfig{SecurityContext: &cri.LinuxSandboxSecurityContext{
			NamespaceOptions: &cri.NamespaceOption{Network: cri.NamespaceMode_NODE},
		}},
	}
	for _, ref := range refs {
		spec := &cri.ImageSpec{Image: ref, RuntimeHandler: handler}
		if _, err := images.PullImage(l.Context(), &cri.PullImageRequest{Image: spec, SandboxConfig: config}); err != nil {
			l.Fatal(err)
		}
	}
	pod, err := runtime.RunPodSandbox(l.Context(), &cri.RunPodSandboxRequest{Config: config, RuntimeHandler: handler})
	if err != nil {
		l.Fatal(err)
	}
	return &podOn{lab: l, snapshotter: snapshotter, config: config, id: pod.PodSandboxId}
}

func imageMount(ref, subPath string) *cri.Mount {
	return &cri.Mount{ContainerPath: "/volume", Readonly: true, Image: &cri.ImageSpec{Image: ref}, ImageSubPath: subPath}
}

// container starts a container of an image, which sleeps.
func (p *podOn) container(ref string, mounts ...*cri.Mount) (id string) {
	p.Helper()
	runtime, _ := p.criClient()
	p.made++
	created, err := runtime.CreateContainer(p.Context(), &cri.CreateContainerRequest{
		PodSandboxId: p.id, SandboxConfig: p.config,
		Config: &cri.ContainerConfig{
			Metadata: &cri.ContainerMetadata{Name: fmt.Sprintf("c%d", p.made)}, Image: &cri.ImageSpec{Image: ref},
			Command: []string{"sleep", "100000"}, Mounts: mounts,
			Linux: &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{
				NamespaceOptions: &cri.NamespaceOption{Network: cri.NamespaceMode_NODE},
			}},
		},
	})
	if err != nil {
		p.Fatal(err)
	}
	if _, err := runtime.StartContainer(p.Context(), &cri.StartContainerRequest{ContainerId: created.ContainerId}); err != nil {
		p.Fatal(err)
	}
	return created.ContainerId
}

// shell runs a script in a container and returns what it printed.
func (p *podOn) shell(id, script string) string {
	p.Helper()
	runtime, _ := p.criClient()
	out, err := runtime.ExecSync(p.Context(), &cri.ExecSyncRequest{ContainerId: id, Cmd: []string{"sh", "-ec", script}, Timeout: 60})
	if err != nil {
		p.Fatal(err)
	}
	if out.ExitCode != 0 {
		p.Errorf("%s: exit code %d: %s", script, out.ExitCode, out.Stderr)
	}
	return strings.TrimSpace(string(out.Stdout))
}

// tree lists what is below a path, with modes and owners, and with contents but for the
// many links to one program.
func (p *podOn) tree(id, path string) string {
	p.Helper()
	return p.shell(id, "find "+path+" -print0 | sort -z | xargs -0 stat -c '%n %f %u:%g' && find "+path+" -type f ! -path '*/bin/*' -print0 | sort -z | xargs -0 sha256sum")
}

// restart restarts ladle and containerd below the pod.
func (p *podOn) restart() {
	p.Helper()
	d := p.Node.Daemon(p.snapshotter)
	if err := syscall.Kill(d.PID(), syscall.SIGHUP); err != nil {
		p.Fatal(err)
	}
	wait(p, "a new daemon", func() bool {
		log, err := os.ReadFile(d.LogFile)
		return err == nil && strings.Contains(string(log), "service: ready 2\n")
	})
	p.restartContainerd()
	runtime, _ := p.criClient()
	wait(p, "CRI knows the pod again", func() bool {
		status, err := runtime.PodSandboxStatus(p.Context(), &cri.PodSandboxStatusRequest{PodSandboxId: p.id})
		return err == nil && status.Status.State == cri.PodSandboxState_SANDBOX_READY
	})
}

// remove ends the pod. Its volumes are taken away then, which Close would find mounted.
func (p *podOn) remove() {
	p.Helper()
	runtime, _ := p.criClient()
	ctx := context.WithoutCancel(p.Context())
	if _, err := runtime.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: p.id}); err != nil {
		p.Error(err)
	}
	if _, err := runtime.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: p.id}); err != nil {
		p.Error(err)
	}
}
