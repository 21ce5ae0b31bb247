package stack_test

import (
	"testing"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/stack"
)

// An image of a registry is copied once, and converted.
func TestImageIsCopiedFromARegistry(t *testing.T) {
	r, err := stack.StartRegistry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	shared, err := image.DefaultCache()
	if err != nil {
		t.Fatal(err)
	}
	original, err := shared.Image(t.Context(), "busybox", image.Gzip)
	if err != nil {
		t.Fatal(err)
	}
	if err := original.Push(t.Context(), r.Addr+"/library/thing:1"); err != nil {
		t.Fatal(err)
	}
	cache := &image.Cache{Dir: t.TempDir(), Log: t.Logf}
	copied, err := cache.Copy(t.Context(), r.Addr+"/library/thing:1", image.ZstdChunked)
	if err != nil {
		t.Fatal(err)
	}
	if lazy, err := copied.Lazy(); !lazy || err != nil || copied.Name != "library-thing" {
		t.Errorf("%s is lazy: %v, %v", copied.Name, lazy, err)
	}
	if _, err := cache.Copy(t.Context(), r.Addr+"/library/none:1", image.ZstdChunked); err == nil {
		t.Error("copied an image that is not there")
	}
}
