package inflate_test

import (
	"bytes"
	"compress/gzip"
	"math/rand/v2"
	"os"
	"testing"
)

// samples are bytes of several kinds.
func samples() map[string][]byte {
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 200<<10)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	few := make([]byte, 60<<10)
	for i := range few {
		few[i] = "aab"[random.IntN(3)]
	}
	skewed := make([]byte, 200<<10)
	for i := range skewed {
		skewed[i] = byte(random.ExpFloat64() * 12)
	}
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		panic(err)
	}
	return map[string][]byte{
		"nothing":    {},
		"one byte":   {'x'},
		"zeros":      make([]byte, 300<<10),
		"noise":      noise,
		"few":        few,
		"skewed":     skewed,
		"period 3":   bytes.Repeat([]byte("abc"), 30_000),
		"period 300": bytes.Repeat(noise[:300], 700),
		"far":        bytes.Repeat(noise[:32<<10], 6),
		"program":    program[:min(len(program), 1<<20)],
		"mixed":      bytes.Join([][]byte{noise, few, noise, program[:100<<10], skewed}, nil),
	}
}

func gzipped(t testing.TB, plain []byte, level int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
