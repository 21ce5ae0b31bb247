package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/internal/waittest"
)

// containerdAt serves CRI's image service at path: every call is answered with nothing.
func containerdAt(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
		return s.SendMsg(&emptypb.Empty{})
	}))
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(srv.Stop)
}

// kubelet calls a method of the image service at path, which has to answer within a minute.
func kubelet(t *testing.T, path, method string, request []byte) error {
	t.Helper()
	message := new(emptypb.Empty)
	message.ProtoReflect().SetUnknown(request)
	conn, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return conn.Invoke(ctx, "/runtime.v1.ImageService/"+method, message, new(emptypb.Empty))
}

// passOn restarts the daemon with a proxy of an image service, and returns the proxy's socket.
func (u *unit) passOn() (socket string) {
	u.t.Helper()
	dir := filepath.Dir(u.address)
	socket, containerd := filepath.Join(dir, "cri.sock"), filepath.Join(dir, "containerd.sock")
	containerdAt(u.t, containerd)
	u.end(syscall.SIGTERM)
	u.configure(onlyDemand + fmt.Sprintf("[cri]\naddress = %q\nimage_service = %q\n", socket, containerd))
	u.start()
	return socket
}

// Calls of kubelet wait for the next daemon, as those of containerd do. Without the proxy in the
// configuration its socket is gone.
func TestImageServiceIsHandedOver(t *testing.T) {
	u := newUnit(t, "")
	socket := u.passOn()
	if err := kubelet(t, socket, "ImageFsInfo", nil); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v, %v", info.Mode(), err)
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		u.end(sig)
		answered := make(chan error, 1)
		go func() { answered <- kubelet(t, socket, "ImageFsInfo", nil) }()
		u.start()
		if err := <-answered; err != nil {
			t.Errorf("a call after %v: %v", sig, err)
		}
	}
	u.end(syscall.SIGTERM)
	u.configure(onlyDemand)
	u.start()
	if _, err := os.Lstat(socket); err == nil {
		t.Error("the socket is there though it is not configured any more")
	}
	u.end(syscall.SIGINT)
}

// A layer's image cannot be read any more. Another image, in another repository, has the layer, too;
// when it was pulled, which containerd tells ladle nothing of, a reader that waits gets its bytes.
func TestPulledImageIsASource(t *testing.T) {
	u := newUnit(t, "")
	socket := u.passOn()
	u.SetFault(func(q registrytest.Request) registrytest.Fault {
		if strings.HasPrefix(q.Path, "/v2/app/") {
			return registrytest.Fault{Status: http.StatusUnauthorized}
		}
		return registrytest.Fault{}
	})
	config := fmt.Appendf(nil, `{"os": "linux", "architecture": %q, "rootfs": {"type": "layers", "diff_ids": [%q]}}`,
		runtime.GOARCH, u.labels[snapshots.LabelSnapshotDiffID])
	u.AddManifest("copy:1", ocispec.MediaTypeImageManifest, fmt.Appendf(nil,
		`{"schemaVersion": 2, "mediaType": %q, "config": {"mediaType": %q, "digest": %q, "size": %d}, "layers": [{"mediaType": %q, "digest": %q, "size": 1}]}`,
		ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageConfig, u.AddBlob(config), len(config),
		ocispec.MediaTypeImageLayerGzip, u.labels["containerd.io/snapshot/cri.layer-digest"]))

	r := startReader(t, u.rootfs+"/large")
	const size = 100_000
	asked := u.Count(registrytest.Blob)
	r.begin(fmt.Sprintf("read 0 %d", size))
	waittest.For(t, "the registry to refuse", func() bool { return u.Count(registrytest.Blob) > asked })
	field := func(b []byte, n protowire.Number, text string) []byte {
		return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), text)
	}
	request := field(nil, 1, string(field(nil, 1, u.Ref("copy:1"))))
	request = field(request, 2, string(field(field(nil, 1, "u"), 2, "p")))
	if err := kubelet(t, socket, "PullImage", request); err != nil {
		t.Fatal(err)
	}
	r.wants(u.image.want(0, size))
	u.end(syscall.SIGINT)
}
