package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/stack"
)

// A user of a registry, as htpasswd -nbB writes it, and the password, plain and in base64.
const (
	htpasswd      = "ali:$2a$04$OphWjwoYPB5AODKFeVv3i.n3mYNwC/PkDNr/OjEdW86fuj6mPZHza\n"
	secret        = "speak-friend-4711"
	encodedSecret = "c3BlYWstZnJpZW5kLTQ3MT"
)

// proxied is a configuration with the proxy; impatient is in the place of patient where reads fail.
const (
	patient   = "read_timeout_sec = 60\n"
	impatient = "read_timeout_sec = 2\n"
	proxied   = onlyDemand + patient + "[cri]\naddress = \"NODE/cri.sock\"\nimage_service = \"NODE/containerd.sock\"\n"
)

// A private image is pulled through the proxy of CRI's image service, with the credentials that
// kubelet sends, and is lazy. The daemon is killed, and reads go on with what is sealed on disk.
// What was sealed is lost: reads fail, until the image is pulled again, of which containerd asks
// ladle nothing. When all is local the credentials are gone.
func TestPrivateImageThroughCRI(t *testing.T) {
	l := newLabOn(t, stack.Containerd{}, asService(t, stack.Ladle("ladle", proxied)))
	l.verifying() // it reads the image's manifest, and has no credentials itself
	l.Push("pause", image.Gzip)
	ref := strings.Replace(l.Push("debian-python", image.EStargz), l.Link.Addr(), l.guarded(), 1)
	runtime, direct := l.criClient()
	p := &pod{runtime: runtime, images: l.proxiedImages(), logs: t.TempDir()}

	for name, auth := range map[string]*cri.AuthConfig{"none": nil, "wrong": {Username: "ali", Password: secret + "?"}} {
		if _, err := p.pull(t.Context(), ref, auth); err == nil {
			t.Errorf("a pull with the credentials %q succeeds", name)
		}
	}
	if n := l.sealed(); n != 0 {
		t.Errorf("%d credentials are sealed that were refused", n)
	}
	auth := &cri.AuthConfig{Username: "ali", Password: secret}
	id, err := p.pull(t.Context(), ref, auth)
	if err != nil {
		t.Fatal(err)
	}
	img := l.image("debian-python", image.EStargz)
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if n, fetched := l.in("k8s.io").remote("ladle"), l.in("k8s.io").fetched(img); n != len(layers) || len(fetched) > 0 {
		t.Errorf("%d of %d layers are lazy, containerd fetched %q", n, len(layers), fetched)
	}
	l.sameAnswers(p.images, direct, id)
	if err := p.startPresent(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.remove(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	if n := l.sealed(); n != 1 {
		t.Errorf("%d credentials are sealed, want 1", n)
	}

	l.signal(syscall.SIGUSR1)
	waitReady(t, l.T, 2)
	if out := p.exec(t, "sha256sum "+unreadFile); !strings.HasPrefix(out, unreadSum) {
		t.Errorf("after the daemon was killed: %s", out)
	}
	l.keepsSecret()

	const another = "cat $(ls /usr/lib/python3*/*.py | tail -n 1) | wc -c"
	l.signal(syscall.SIGUSR2)
	wait(t, "the daemon to be down", func() bool { return strings.Contains(l.daemonLog(), "service: down 2\n") })
	if err := os.RemoveAll(filepath.Join(l.Node.Daemon("ladle").Root, "cri")); err != nil {
		t.Fatal(err)
	}
	l.reconfigure(patient, impatient)
	l.signal(syscall.SIGUSR1)
	waitReady(t, l.T, 3)
	if out := p.exec(t, another); !strings.Contains(out, "Input/output error") {
		t.Errorf("without credentials: %s", out)
	}
	if again, err := p.pull(t.Context(), ref, auth); err != nil || again != id {
		t.Errorf("pulled again it is %s, %v, and was %s", again, err, id)
	}
	wait(t, "the files can be read", func() bool { return !strings.Contains(p.exec(t, another), "error") })

	if n := l.sealed(); n != 1 {
		t.Errorf("%d credentials are sealed, want 1", n)
	}
	l.reconfigure(impatient, patient)
	l.signal(syscall.SIGUSR1)
	waitReady(t, l.T, 4)
	if out := p.exec(t, "find / -xdev -type f -exec cat {} + | wc -c"); strings.Contains(out, "error") {
		t.Errorf("reading everything: %s", out)
	}
	wait(t, "the credentials are forgotten", func() bool { return l.sealed() == 0 })
	l.keepsSecret()
	if _, err := p.images.RemoveImage(t.Context(), &cri.RemoveImageRequest{Image: &cri.ImageSpec{Image: ref}}); err != nil {
		t.Error(err)
	}
}

// guarded starts another registry on the store of the first, for the user of htpasswd, and returns
// its address.
func (l lab) guarded() string {
	l.Helper()
	users := filepath.Join(l.TempDir(), "htpasswd")
	if err := os.WriteFile(users, []byte(htpasswd), 0o600); err != nil {
		l.Fatal(err)
	}
	r, err := l.Registry.Guarded(l.Context(), fmt.Sprintf("  htpasswd:\n    realm: test\n    path: %s\n", users))
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() {
		if err := r.Close(); err != nil {
			l.Error(err)
		}
	})
	return r.Addr
}

// proxiedImages connects to the proxy as kubelet does.
func (l lab) proxiedImages() cri.ImageServiceClient {
	l.Helper()
	conn, err := grpc.NewClient("unix://"+filepath.Join(l.Node.Dir, "cri.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() {
		if err := conn.Close(); err != nil {
			l.Error(err)
		}
	})
	return cri.NewImageServiceClient(conn)
}

func (p *pod) pull(ctx context.Context, ref string, auth *cri.AuthConfig) (id string, err error) {
	r, err := p.images.PullImage(ctx, &cri.PullImageRequest{Image: &cri.ImageSpec{Image: ref}, Auth: auth})
	return r.GetImageRef(), err
}

// exec runs a script in the container, and returns what it printed, errors included.
func (p *pod) exec(t *testing.T, script string) string {
	t.Helper()
	r, err := p.runtime.ExecSync(t.Context(), &cri.ExecSyncRequest{ContainerId: p.container, Cmd: []string{"sh", "-c", script}, Timeout: 120})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(r.Stdout) + string(r.Stderr))
}

// sameAnswers compares what the image service says through the proxy and without it.
func (l lab) sameAnswers(proxied, direct cri.ImageServiceClient, id string) {
	l.Helper()
	ctx := l.Context()
	for name, ask := range map[string]func(c cri.ImageServiceClient) (proto.Message, error){
		"ListImages": func(c cri.ImageServiceClient) (proto.Message, error) {
			return c.ListImages(ctx, &cri.ListImagesRequest{})
		},
		"StreamImages": func(c cri.ImageServiceClient) (proto.Message, error) {
			s, err := c.StreamImages(ctx, &cri.StreamImagesRequest{})
			if err != nil {
				return nil, err
			}
			return s.Recv()
		},
		"ImageStatus": func(c cri.ImageServiceClient) (proto.Message, error) {
			return c.ImageStatus(ctx, &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: id}, Verbose: true})
		},
		"no image": func(c cri.ImageServiceClient) (proto.Message, error) {
			return c.PullImage(ctx, &cri.PullImageRequest{Image: &cri.ImageSpec{Image: "///"}})
		},
	} {
		got, err := ask(proxied)
		want, wantErr := ask(direct)
		if status.Code(err) != status.Code(wantErr) || err != nil && err.Error() != wantErr.Error() || err == nil && !proto.Equal(got, want) {
			l.Errorf("%s through the proxy: %v, %v; without it: %v, %v", name, got, err, want, wantErr)
		}
		if (wantErr != nil) != (name == "no image") {
			l.Errorf("%s: %v", name, wantErr)
		}
	}
	if _, err := proxied.ImageFsInfo(ctx, &cri.ImageFsInfoRequest{}); status.Code(err) != codes.OK {
		l.Errorf("ImageFsInfo: %v", err)
	}
}

func (l lab) signal(s syscall.Signal) {
	l.Helper()
	if err := syscall.Kill(l.Node.Daemon("ladle").PID(), s); err != nil {
		l.Fatal(err)
	}
}

// reconfigure replaces a line of the daemon's configuration, for its next process.
func (l lab) reconfigure(line, by string) {
	l.Helper()
	path := filepath.Join(l.Node.Dir, "ladle.toml")
	text, err := os.ReadFile(path)
	if err == nil && !strings.Contains(string(text), line) {
		err = fmt.Errorf("%s has no %q", path, line)
	}
	if err == nil {
		err = os.WriteFile(path, []byte(strings.Replace(string(text), line, by, 1)), 0o644)
	}
	if err != nil {
		l.Fatal(err)
	}
}

// sealed returns how many credentials are sealed on disk.
func (l lab) sealed() int {
	l.Helper()
	all, err := os.ReadDir(filepath.Join(l.Node.Daemon("ladle").Root, "cri", "logins"))
	if err != nil {
		l.Fatal(err)
	}
	return len(all)
}

// keepsSecret fails if the password is in a file below the daemon's root, or in its log.
func (l lab) keepsSecret() {
	l.Helper()
	d := l.Node.Daemon("ladle")
	read := 0
	look := func(path string) {
		b, err := written(path)
		if err != nil {
			l.Errorf("%s: %v", path, err)
		}
		read += len(b)
		for _, text := range []string{secret, encodedSecret} {
			if bytes.Contains(b, []byte(text)) {
				l.Errorf("%s has the password", path)
			}
		}
	}
	look(d.LogFile)
	for _, dir := range []string{"cri", "e", "store"} { // trees are mounted below the others
		err := filepath.WalkDir(filepath.Join(d.Root, dir), func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() && filepath.Base(path) == "fs" && dir == "e" {
				return filepath.SkipDir
			}
			if err == nil && e.Type().IsRegular() {
				look(path)
			}
			return err
		})
		if err != nil {
			l.Error(err)
		}
	}
	if read < 1<<20 {
		l.Errorf("%d bytes were looked at", read)
	}
}

// written returns what was written to a file, without its holes.
func written(path string) (all []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for end := int64(0); ; {
		begin, err := f.Seek(end, unix.SEEK_DATA)
		if errors.Is(err, syscall.ENXIO) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if end, err = f.Seek(begin, unix.SEEK_HOLE); err != nil {
			return nil, err
		}
		b, err := io.ReadAll(io.NewSectionReader(f, begin, end-begin))
		if err != nil {
			return nil, err
		}
		all = append(all, b...)
	}
}
