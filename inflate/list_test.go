package inflate_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"reflect"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/ladle-dev/ladle/inflate"
	"github.com/ladle-dev/ladle/internal/memtest"
)

// encoded returns the list of points.
func encoded(t testing.TB, points []inflate.Point) []byte {
	t.Helper()
	var e inflate.Encoder
	for _, p := range points {
		if err := e.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	return e.Bytes()
}

// decoded returns all points of a list.
func decoded(data []byte) (all []inflate.Point, err error) {
	l, err := inflate.Decode(data)
	if err != nil {
		return nil, err
	}
	for i := range l.Len() {
		p, err := l.Point(i)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// samePoints compares windows without runs as equal, nil or not.
func samePoints(a, b []inflate.Point) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Place != b[i].Place || !bytes.Equal(a[i].Window.Bytes, b[i].Window.Bytes) || len(a[i].Window.Runs) != len(b[i].Window.Runs) {
			return false
		}
		if len(a[i].Window.Runs) > 0 && !reflect.DeepEqual(a[i].Window.Runs, b[i].Window.Runs) {
			return false
		}
	}
	return true
}

func TestListHasThePoints(t *testing.T) {
	longest := 0
	for name, s := range streams(t) {
		want := points(t, s.blob, 0)
		got, err := decoded(encoded(t, want))
		if err != nil || !samePoints(got, want) {
			t.Errorf("%s: %d points, want %d; %v", name, len(got), len(want), err)
		}
		longest = max(longest, len(want))
	}
	if longest < 100 {
		t.Errorf("no list of more than %d points", longest)
	}
	if got, err := decoded(encoded(t, nil)); err != nil || len(got) > 0 {
		t.Errorf("empty list: %d, %v", len(got), err)
	}
}

// TestEncoderGoesOn adds points after the bytes of those before were taken.
func TestEncoderGoesOn(t *testing.T) {
	want := points(t, streams(t)["all sorts"].blob, 0)
	var e inflate.Encoder
	for i, p := range want {
		if err := e.Add(p); err != nil {
			t.Fatal(err)
		}
		if i%16 == 0 || i == len(want)-1 {
			if got, err := decoded(e.Bytes()); err != nil || !samePoints(got, want[:i+1]) {
				t.Fatalf("%d points: %d; %v", i+1, len(got), err)
			}
		}
	}
}

func TestListFindsThePointBefore(t *testing.T) {
	s := streams(t)["program/flushed"]
	l, err := inflate.Decode(encoded(t, points(t, s.blob, 50_000)))
	if err != nil {
		t.Fatal(err)
	}
	for out := int64(0); out < int64(len(s.plain)); out += 17_000 {
		i := l.Find(out)
		if l.Place(i).Out > out || i+1 < l.Len() && l.Place(i+1).Out <= out {
			t.Errorf("%d: found point %d of %d at %d", out, i, l.Len(), l.Place(i).Out)
		}
		p, err := l.Point(i)
		if err != nil {
			t.Fatal(err)
		}
		z, err := inflate.Resume(bytes.NewReader(s.blob[p.In:]), p, 1<<40)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, z, out-p.Out); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, min(1000, len(s.plain)-int(out)))
		if _, err := io.ReadFull(z, got); err != nil || !bytes.Equal(got, s.plain[out:int(out)+len(got)]) {
			t.Errorf("%d: other bytes, %v", out, err)
		}
	}
	if i := l.Find(-1); i != -1 {
		t.Errorf("found point %d before the first", i)
	}
}

// TestDamagedLists changes each byte of a list, and cuts it after each.
func TestDamagedLists(t *testing.T) {
	data := encoded(t, points(t, streams(t)["program/standard 6"].blob, 0)[:3])
	for i := range data {
		damaged := bytes.Clone(data)
		damaged[i] ^= 1 << (i % 8)
		if _, err := inflate.Decode(damaged); !errors.Is(err, inflate.ErrList) {
			t.Fatalf("byte %d: %v", i, err)
		}
		if _, err := inflate.Decode(data[:i]); !errors.Is(err, inflate.ErrList) {
			t.Fatalf("first %d bytes: %v", i, err)
		}
	}
}

// TestListOfPointsWithoutWindows announces a million points in a few bytes: no memory is taken
// for them.
func TestListOfPointsWithoutWindows(t *testing.T) {
	const n = 1 << 20
	places := binary.AppendUvarint(nil, n)
	places = append(places, bytes.Repeat([]byte{1}, 4*n)...)
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	frame := w.EncodeAll(places, nil)
	data := encoded(t, nil)[:8]
	data = append(binary.AppendUvarint(data, uint64(len(frame))), frame...)
	data = binary.LittleEndian.AppendUint32(data, crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)))
	memtest.Bound(t, 0, func() { _, err = inflate.Decode(data) })
	if !errors.Is(err, inflate.ErrList) {
		t.Error(err)
	}
}

// TestEncoderSize compares it with the bytes of the list.
func TestEncoderSize(t *testing.T) {
	all := points(t, streams(t)["all sorts"].blob, 0)
	var e inflate.Encoder
	for i, p := range all {
		if err := e.Add(p); err != nil {
			t.Fatal(err)
		}
		if size, list := e.Size(), len(e.Bytes()); size < list-1000 || size > list+(i+1)*40+9*40_000 {
			t.Fatalf("%d for %d points, whose list has %d bytes", size, i+1, list)
		}
	}
}

func TestEncoderRefusesPointsOutOfOrder(t *testing.T) {
	all := points(t, streams(t)["program/standard 6"].blob, 0)
	var e inflate.Encoder
	if err := errors.Join(e.Add(all[0]), e.Add(all[2])); err != nil {
		t.Fatal(err)
	}
	if err := e.Add(all[1]); !errors.Is(err, inflate.ErrPoint) {
		t.Error(err)
	}
	if err := e.Add(inflate.Point{Place: inflate.Place{In: 1 << 40, Out: 1 << 40, Bits: 8}}); !errors.Is(err, inflate.ErrPoint) {
		t.Error(err)
	}
}
