package image

import (
	"archive/tar"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
)

// Layered is a synthetic image of n layers, whose files have size bytes together: as many
// in each layer, of 31 KiB on average, as in an image of a distribution, with text.
func Layered(n int, size int64) Recipe {
	layers := make([]Layer, n)
	for i := range layers {
		layers[i] = filesOfText(i, size/int64(n))
	}
	return Recipe{
		Name: fmt.Sprintf("layered-%dx%dk", n, size/int64(n)>>10), Version: 1,
		About:  fmt.Sprintf("%d layers, %d MiB", n, size>>20),
		Layers: func(Env) ([]Layer, error) { return layers, nil },
	}
}

// Sizes of the files of a layered image are between these, each power of two as often as
// the others.
const leastFile, mostFile = 64, 256 << 10

// filesOfText is files of size bytes together, in directories of a hundred.
func filesOfText(layer int, size int64) Layer {
	return func(w *tar.Writer) error {
		random := rand.New(rand.NewPCG(uint64(layer), 1))
		content := newText(random)
		name := fmt.Sprintf("layer-%02d", layer)
		if err := put(w, dir(name, 0o755), ""); err != nil {
			return err
		}
		in := ""
		for i := 0; size > 0; i++ {
			if i%100 == 0 {
				in = fmt.Sprintf("%s/%03d", name, i/100)
				if err := put(w, dir(in, 0o755), ""); err != nil {
					return err
				}
			}
			n := min(size, int64(leastFile*math.Pow(mostFile/leastFile, random.Float64())))
			if err := putFrom(w, reg(fmt.Sprintf("%s/%05d", in, i), 0o644, n), content); err != nil {
				return err
			}
			size -= n
		}
		return nil
	}
}

// text is an endless reader of words, some of them more often than others: it compresses
// to about a third, and inflates as fast as what people write.
type text struct {
	random *rand.Rand
	words  [][]byte
	rest   []byte // of the current word
}

func newText(random *rand.Rand) io.Reader {
	t := &text{random: random}
	for range 4096 {
		word := make([]byte, 3+random.IntN(8))
		for i := range word {
			word[i] = byte('a' + random.IntN(26))
		}
		t.words = append(t.words, append(word, ' '))
	}
	return t
}

func (t *text) Read(p []byte) (int, error) {
	for n := 0; n < len(p); {
		if len(t.rest) == 0 {
			chance := t.random.Float64()
			t.rest = t.words[int(chance*chance*chance*float64(len(t.words)))]
		}
		m := copy(p[n:], t.rest)
		t.rest = t.rest[m:]
		n += m
	}
	return len(p), nil
}
