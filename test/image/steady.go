package image

import (
	"archive/tar"
	"fmt"
	"io"
	"math/rand/v2"
)

// The images that steady-state measurements read. No container runs in them.
// Of each there is a small one, for a smoke test.
var steadyRecipes = []Recipe{
	steadyRecipe("steady", "10,000 files of 4 KiB, and one of 256 MiB", func() []Layer {
		return []Layer{smallFiles(10_000, 4<<10), largeFile(256 << 20)}
	}),
	steadyRecipe("steady-small", "300 files of 4 KiB, and one of 8 MiB", func() []Layer {
		return []Layer{smallFiles(300, 4<<10), largeFile(8 << 20)}
	}),
	steadyRecipe("flat", "30,000 files in one layer", func() []Layer { return flat(60, 500) }),
	steadyRecipe("flat-small", "200 files in one layer", func() []Layer { return flat(10, 20) }),
	steadyRecipe("spread", "the files of flat in 60 layers", func() []Layer { return spread(60, 500) }),
	steadyRecipe("spread-small", "the files of flat-small in 10 layers", func() []Layer { return spread(10, 20) }),
}

// Where the files of the steady recipes are.
const (
	SmallFiles = "small" // directory of the small files
	LargeFile  = "large" // name of the large file
)

func steadyRecipe(name, about string, layers func() []Layer) Recipe {
	return Recipe{Name: name, About: about, Version: 1, Layers: func(Env) ([]Layer, error) { return layers(), nil }}
}

// smallFiles is n files in directories of fifty.
func smallFiles(n, size int) Layer {
	return func(w *tar.Writer) error {
		content := newProse(1)
		if err := put(w, dir(SmallFiles, 0o755), ""); err != nil {
			return err
		}
		for i := range n {
			in := fmt.Sprintf("%s/%03d", SmallFiles, i/50)
			if i%50 == 0 {
				if err := put(w, dir(in, 0o755), ""); err != nil {
					return err
				}
			}
			if err := putFrom(w, reg(fmt.Sprintf("%s/%05d", in, i), 0o644, int64(size)), content); err != nil {
				return err
			}
		}
		return nil
	}
}

func largeFile(size int64) Layer {
	return func(w *tar.Writer) error { return putFrom(w, reg(LargeFile, 0o644, size), newProse(2)) }
}

// spreadDirs is how many directories all layers of a spread image share.
const spreadDirs = 50

// spread is n layers of as many files each.
func spread(n, files int) []Layer {
	layers := make([]Layer, n)
	for i := range layers {
		layers[i] = func(w *tar.Writer) error { return spreadFiles(w, i*files, (i+1)*files) }
	}
	return layers
}

// flat is one layer with the files of spread(n, files).
func flat(n, files int) []Layer {
	return []Layer{func(w *tar.Writer) error { return spreadFiles(w, 0, n*files) }}
}

func spreadFiles(w *tar.Writer, from, to int) error {
	if err := put(w, dir("spread", 0o755), ""); err != nil {
		return err
	}
	for d := range spreadDirs {
		if err := put(w, dir(fmt.Sprintf("spread/%02d", d), 0o755), ""); err != nil {
			return err
		}
	}
	for f := from; f < to; f++ {
		name := fmt.Sprintf("spread/%02d/%05d", f%spreadDirs, f)
		if err := put(w, reg(name, 0o644, 0), name); err != nil {
			return err
		}
	}
	return nil
}

// prose is an endless reader of bytes that compress to about half, the same
// for the same seed.
type prose struct{ random *rand.Rand }

func newProse(seed uint64) io.Reader { return prose{rand.New(rand.NewPCG(seed, 0))} }

// Read writes hexadecimal digits: four bits of chance in each byte.
func (r prose) Read(p []byte) (int, error) {
	const digits = "0123456789abcdef"
	for i := 0; i < len(p); i += 16 {
		chance := r.random.Uint64()
		for j := range min(16, len(p)-i) {
			p[i+j] = digits[chance&15]
			chance >>= 4
		}
	}
	return len(p), nil
}
