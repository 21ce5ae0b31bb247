package store_test

import (
	"testing"

	"github.com/ladle-dev/ladle/store"
)

func benchLayer(b *testing.B, nChunks int, chunkSize int64) *store.Layer {
	b.Helper()
	s := open(b, b.TempDir(), store.Options{})
	l, err := s.Add(sampleID(1), store.Content{DataSize: int64(nChunks) * chunkSize, NChunks: nChunks})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	return l
}

func BenchmarkState(b *testing.B) {
	const n = 1 << 16
	l := benchLayer(b, n, 4096)
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if l.State(i%n) != store.Absent {
				b.Error("not absent")
			}
		}
	})
}

func BenchmarkFill(b *testing.B) {
	for name, size := range map[string]int64{"4K": 4 << 10, "64K": 64 << 10, "1M": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			n := int((256 << 20) / size)
			l := benchLayer(b, n, size)
			p := randomBytes(1, 1, int(size))
			b.SetBytes(size)
			for i := 0; b.Loop(); i++ {
				if err := l.Fill(i%n, int64(i%n)*size, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReadAt(b *testing.B) {
	l := benchLayer(b, 16, 1<<20)
	for n := range 16 {
		if err := l.Fill(n, int64(n)<<20, randomBytes(1, n, 1<<20)); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(128 << 10)
	b.RunParallel(func(pb *testing.PB) {
		p := make([]byte, 128<<10)
		for i := 0; pb.Next(); i++ {
			if _, err := l.ReadAt(p, int64(i%128)*int64(len(p))); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	s := open(b, b.TempDir(), store.Options{})
	c := store.Content{
		DataSize: 1 << 30,
		NChunks:  37000,
		Chunks:   randomBytes(1, 1, 37000*80),
		Entries:  randomBytes(1, 2, 3<<20),
	}
	for i := 0; b.Loop(); i++ {
		l, err := s.Add(sampleID(i), c)
		if err != nil {
			b.Fatal(err)
		}
		closeLayer(b, l)
	}
}

func BenchmarkOpenLayer(b *testing.B) {
	s := open(b, b.TempDir(), store.Options{})
	c := store.Content{DataSize: 1 << 30, NChunks: 37000, Chunks: randomBytes(1, 1, 37000*80)}
	l, err := s.Add(sampleID(1), c)
	if err != nil {
		b.Fatal(err)
	}
	closeLayer(b, l)
	for b.Loop() {
		closeLayer(b, layer(b, s, 1))
	}
}
