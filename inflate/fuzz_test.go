package inflate_test

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"testing"

	"github.com/ladle-dev/ladle/inflate"
)

// maxFuzz bounds what a few bytes can inflate to.
const maxFuzz = 4 << 20

// FuzzReader compares one deflate stream with what compress/flate makes of it: the same
// bytes, or an error of both, before which one has given the beginning of what the other
// has.
func FuzzReader(f *testing.F) {
	for name, s := range streams(f) {
		if len(s.blob) < 6000 {
			f.Add(s.blob[10:])
		} else if len(name)%4 == 0 {
			f.Add(s.blob[10:6000])
		}
	}
	for _, s := range hostile {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(data)), maxFuzz))
		z := inflate.NewRaw(bytes.NewReader(data))
		got, err := io.ReadAll(io.LimitReader(z, maxFuzz))
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%v, but compress/flate: %v", err, wantErr)
		}
		if err == nil && !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, want %d", len(got), len(want))
		}
		if !bytes.HasPrefix(got, want) && !bytes.HasPrefix(want, got) {
			t.Fatalf("other bytes: %d and %d; %v, %v", len(got), len(want), err, wantErr)
		}
		if err != nil && !errors.Is(err, inflate.ErrCorrupt) && err != io.ErrUnexpectedEOF {
			t.Fatal(err)
		}
	})
}

// FuzzGzip reads whatever comes as a gzip file, and resumes at each of its points, also
// before an error.
func FuzzGzip(f *testing.F) {
	for name, s := range streams(f) {
		if len(s.blob) < 20_000 && len(name)%2 == 0 {
			f.Add(s.blob)
		}
	}
	// Damage behind the last byte that is wanted, within the reach of the fast loop.
	f.Add([]byte("\x1f\x8b\b\x000000002800100000000000000000000000"))
	f.Fuzz(func(t *testing.T, blob []byte) {
		var all []inflate.Point
		z := inflate.NewReader(bytes.NewReader(blob))
		z.OnPoint(0, func(p inflate.Point) error {
			all = append(all, p)
			return nil
		})
		plain, err := io.ReadAll(io.LimitReader(z, maxFuzz))
		if err != nil && !errors.Is(err, inflate.ErrCorrupt) && err != io.ErrUnexpectedEOF {
			t.Fatal(err)
		}
		for i, p := range all {
			if p.Out > int64(len(plain)) || i > 0 && p.Out < all[i-1].Out {
				continue // after what was read of more than maxFuzz
			}
			want := plain[p.Out:min(len(plain), int(p.Out)+100<<10)]
			got, err := resume(blob[p.In:], p, int64(len(want)))
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("point %d of %d: %d bytes, want %d; %v", i, len(all), len(got), len(want), err)
			}
		}
	})
}

// FuzzResume resumes with any window at any place: there is no panic, and no byte of a
// window that has none.
func FuzzResume(f *testing.F) {
	for _, s := range streams(f) {
		for _, p := range points(f, s.blob, 1<<20)[1:] {
			var back, n int
			if runs := p.Window.Runs; len(runs) > 0 {
				back, n = runs[0].Back, runs[0].Len
			}
			end := min(len(s.blob), int(p.In)+3000)
			f.Add(s.blob[p.In:end], p.Bits, p.Head, back, n, p.Out)
		}
	}
	f.Fuzz(func(t *testing.T, blob []byte, bits, head uint8, back, n int, out int64) {
		p := inflate.Point{Place: inflate.Place{In: 1, Bits: bits, Head: head, Out: out}}
		if n > 0 && n <= 64<<10 {
			p.Window = inflate.Window{Runs: []inflate.Run{{Back: back, Len: n}}, Bytes: bytes.Repeat([]byte{0xa5}, n)}
		}
		z, err := inflate.Resume(bytes.NewReader(blob), p, maxFuzz)
		if errors.Is(err, inflate.ErrPoint) {
			return
		}
		if _, err = io.Copy(io.Discard, z); err != nil && !errors.Is(err, inflate.ErrCorrupt) && err != io.ErrUnexpectedEOF {
			t.Fatal(err)
		}
	})
}

// FuzzDecode decodes lists with a right checksum: what is one has points that can be encoded
// again.
func FuzzDecode(f *testing.F) {
	for name, s := range streams(f) {
		if len(name)%3 == 0 {
			all := points(f, s.blob, 0)
			data := encoded(f, all[:min(len(all), 5)])
			f.Add(data[:len(data)-4])
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		data = binary.LittleEndian.AppendUint32(bytes.Clone(data), crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)))
		all, err := decoded(data)
		if err != nil {
			if !errors.Is(err, inflate.ErrList) {
				t.Fatal(err)
			}
			return
		}
		if again, err := decoded(encoded(t, all)); err != nil || !samePoints(all, again) {
			t.Fatalf("%d points, %d of them again; %v", len(all), len(again), err)
		}
	})
}
