package e2e

import (
	"context"
	"fmt"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/stack"
	"github.com/ladle-dev/ladle/test/stacktest"
)

// A pod with the host's network runs without any CNI plugin.
func TestPodRunsThroughCRI(t *testing.T) {
	onReleases(t, func(t *testing.T, c stack.Containerd) {
		snapshotters := []string{"ladle"}
		if c.Release == "" {
			snapshotters = append(snapshotters, "overlayfs")
		}
		for _, snapshotter := range snapshotters {
			t.Run(snapshotter, func(t *testing.T) { podRuns(t, c, snapshotter) })
		}
	})
}

func podRuns(t *testing.T, c stack.Containerd, snapshotter string) {
	l := lab{T: stacktest.New(t, stack.Options{
		Daemons: []stack.Daemon{stack.Ladle("ladle", "")}, CRISnapshotter: snapshotter, Containerd: c,
	})}
	l.Push("pause", image.Gzip)
	ref := l.Push("debian-python", image.EStargz)
	runtime, images := l.criClient()
	p := pod{runtime: runtime, images: images, logs: t.TempDir()}
	if err := p.start(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.remove(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	reply, err := p.runtime.ExecSync(t.Context(), &cri.ExecSyncRequest{
		ContainerId: p.container, Cmd: []string{"python3", "-c", "import json; print(json.dumps('inside'))"}, Timeout: 60,
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(reply.Stdout); got != "\"inside\"\n" || reply.ExitCode != 0 {
		t.Errorf("exec printed %q, %q, exit code %d", got, reply.Stderr, reply.ExitCode)
	}
	want := 0
	if snapshotter == "overlayfs" {
		want = 3
	}
	if fetched := l.in("k8s.io").fetched(l.image("debian-python", image.EStargz)); len(fetched) != want {
		t.Errorf("containerd fetched the layers %q; want %d", fetched, want)
	}
}

// pod is one pod with one container that sleeps.
type pod struct {
	runtime       cri.RuntimeServiceClient
	images        cri.ImageServiceClient
	logs          string
	id, container string
}

func (p *pod) start(ctx context.Context, ref string) error {
	spec := &cri.ImageSpec{Image: ref}
	if _, err := p.images.PullImage(ctx, &cri.PullImageRequest{Image: spec}); err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	return p.startPresent(ctx, ref)
}

// startPresent starts a pod of an image that is there.
func (p *pod) startPresent(ctx context.Context, ref string) error {
	spec := &cri.ImageSpec{Image: ref}
	host := cri.NamespaceMode_NODE
	config := &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Name: "pod", Uid: p.logs, Namespace: "test"},
		LogDirectory: p.logs,
		Linux: &cri.LinuxPodSandboxConfig{SecurityContext: &cri.LinuxSandboxSecurityContext{
			NamespaceOptions: &cri.NamespaceOption{Network: host},
		}},
	}
	sandbox, err := p.runtime.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: config})
	if err != nil {
		return fmt.Errorf("pod: %w", err)
	}
	p.id = sandbox.PodSandboxId
	created, err := p.runtime.CreateContainer(ctx, &cri.CreateContainerRequest{
		PodSandboxId: p.id, SandboxConfig: config,
		Config: &cri.ContainerConfig{
			Metadata: &cri.ContainerMetadata{Name: "c"}, Image: spec, Command: []string{"sleep", "1000"}, LogPath: "c.log",
			Linux: &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{
				NamespaceOptions: &cri.NamespaceOption{Network: host},
			}},
		},
	})
	if err != nil {
		return fmt.Errorf("container: %w", err)
	}
	p.container = created.ContainerId
	if _, err := p.runtime.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: p.container}); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	return nil
}

func (p *pod) remove(ctx context.Context) error {
	if _, err := p.runtime.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: p.id}); err != nil {
		return err
	}
	_, err := p.runtime.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: p.id})
	return err
}
