package fetch

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/internal/registrytest"
)

func TestWhole(t *testing.T) {
	for _, size := range []int{0, 1, 5000, minWhole, 4*minWhole + 1, 5*maxWhole + 12345} {
		data := random(size)
		r := registrytest.New(t, registrytest.Options{})
		w := blobOf(client(t), r, data).Whole(within(t), int64(size))
		got, err := io.ReadAll(w)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes: %d, %v", size, len(got), err)
		}
		if n, err := w.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("behind the end: %d, %v", n, err)
		}
		w.Close()
	}
}

// TestWholeOfFaultyRegistry: with a fault that stays, the bytes are right or there is the
// right error; with one that passes, they are right.
func TestWholeOfFaultyRegistry(t *testing.T) {
	t.Parallel()
	data := random(5*minWhole + 7)
	whole := func(t *testing.T, c registrytest.Fault, r *registrytest.Registry) error {
		w := blobOf(client(t, c), r, data).Whole(within(t), int64(len(data)))
		defer w.Close()
		got, err := io.ReadAll(w)
		if err == nil && !bytes.Equal(got, data) {
			t.Errorf("wrong bytes")
		}
		return err
	}
	for _, c := range faults {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := registrytest.New(t, registrytest.Options{})
			r.SetFault(registrytest.Always(registrytest.Blob, c.f))
			want := c.kind
			if refusesRange(c.f.Status) {
				want = ErrUnavailable // the whole blob is requested, too
			}
			if err := whole(t, c.f, r); err != nil && c.f.ContentRange == "" && !errors.Is(err, want) { // that is of another range
				t.Errorf("error %v, want %v", err, want)
			}
			if !errors.Is(c.kind, ErrUnavailable) || c.f.Status != 0 {
				return
			}
			r.SetFault(registrytest.First(1, registrytest.Blob, c.f))
			if err := whole(t, c.f, r); err != nil {
				t.Errorf("once: %v", err)
			}
		})
	}
}

func TestWholeThatIsNotThere(t *testing.T) {
	r := registrytest.New(t, registrytest.Options{})
	b := client(t).Blob(Source{r.Ref("library/test:1"), digestOf(random(5))})
	w := b.Whole(within(t), 10<<20)
	defer w.Close()
	if _, err := io.ReadAll(w); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
}

// TestWholeIsBounded has a reader that does not read.
func TestWholeIsBounded(t *testing.T) {
	data := random(10 * maxWhole)
	r := registrytest.New(t, registrytest.Options{})
	w := blobOf(client(t), r, data).Whole(within(t), int64(len(data)))
	one := make([]byte, 1)
	if _, err := io.ReadFull(w, one); err != nil {
		t.Fatal(err)
	}
	for len(w.free) > 0 || len(w.windows) < wholeRanges-1 {
		time.Sleep(time.Millisecond)
	}
	if n := r.Count(registrytest.Blob); n > wholeRanges {
		t.Errorf("%d requests", n)
	}
	done := make(chan error)
	go func() { _, err := io.ReadAll(w); done <- err }()
	w.Close()
	if err := <-done; err != nil && !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
}
