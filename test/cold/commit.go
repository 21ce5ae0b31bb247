package cold

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/ladle-dev/ladle/test/link"
	"github.com/ladle-dev/ladle/test/stack"
)

// Commit is what it took to make a layer of what a container had changed.
type Commit struct {
	Took     time.Duration
	Counters link.Counters // of what was fetched meanwhile
	Size     int           // bytes of the layer
	Digest   string        // of the layer's entries and contents, but for times
}

const threeFiles = `for i in 1 2 3; do echo file $i > /srv/file$i; done`

// MeasureCommit pulls an image, starts a container that writes three files, and measures
// ctr snapshots diff of it.
func MeasureCommit(ctx context.Context, registry string, p link.Profile, s Start) (_ Commit, err error) {
	l, err := link.Listen(registry, p)
	if err != nil {
		return Commit{}, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	n, err := stack.StartNode(ctx, stack.NodeOptions{Registry: l.Addr(), Daemons: s.Daemons, Containerd: s.Containerd})
	if err != nil {
		return Commit{}, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, n.Logs())
		}
		err = errors.Join(err, n.Close())
	}()
	ref := l.Addr() + "/" + s.Image
	if err := n.Pull(ctx, s.Snapshotter, ref); err != nil {
		return Commit{}, err
	}
	id, err := n.RunDetached(ctx, stack.Container{Snapshotter: s.Snapshotter, Ref: ref, Args: []string{"sleep", "100000"}})
	if err != nil {
		return Commit{}, err
	}
	if _, err := n.Exec(ctx, id, "sh", "-ec", threeFiles); err != nil {
		return Commit{}, err
	}
	l.Reset()
	began := time.Now()
	layer, err := n.Ctr(ctx, "snapshots", "--snapshotter", s.Snapshotter, "diff", id)
	if err != nil {
		return Commit{}, err
	}
	c := Commit{Took: time.Since(began), Counters: l.Counters(), Size: len(layer)}
	c.Digest, err = digestOf(strings.NewReader(layer))
	return c, err
}

// digestOf returns a digest of what is in a layer, but for times.
func digestOf(layer io.Reader) (string, error) {
	plain, err := gzip.NewReader(layer)
	if err != nil {
		return "", fmt.Errorf("cold: %w", err)
	}
	sum := sha256.New()
	for r := tar.NewReader(plain); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Sprintf("%x", sum.Sum(nil)), nil
		}
		if err != nil {
			return "", fmt.Errorf("cold: %w", err)
		}
		fmt.Fprintf(sum, "%q %c %o %d %d %d %q\n", h.Name, h.Typeflag, h.Mode, h.Uid, h.Gid, h.Size, h.Linkname)
		if _, err := io.Copy(sum, r); err != nil {
			return "", fmt.Errorf("cold: %w", err)
		}
	}
}
