package inflate_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"testing"

	"github.com/ladle-dev/ladle/inflate"
)

// points returns those of blob.
func points(t testing.TB, blob []byte, spacing int64) (all []inflate.Point) {
	t.Helper()
	z := inflate.NewReader(bytes.NewReader(blob))
	z.OnPoint(spacing, func(p inflate.Point) error {
		all = append(all, p)
		return nil
	})
	if _, err := io.Copy(io.Discard, z); err != nil {
		t.Fatal(err)
	}
	return all
}

func resume(blob []byte, p inflate.Point, n int64) ([]byte, error) {
	z, err := inflate.Resume(bytes.NewReader(blob), p, n)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// TestResumeGivesTheBytesOfFullDecompression resumes at each point of all streams: up to
// the next point, with nothing of the blob after that one; a bit beyond it; and, from some
// of them, to the end.
func TestResumeGivesTheBytesOfFullDecompression(t *testing.T) {
	count, windows := 0, 0
	for name, s := range streams(t) {
		for _, spacing := range []int64{0, 100 << 10} {
			all := points(t, s.blob, spacing)
			if len(all) == 0 || all[0].In != 0 || all[0].Out != 0 || !all[0].Header {
				t.Fatalf("%s: first of %d points is not the first member", name, len(all))
			}
			for i, p := range all {
				count++
				if len(p.Window.Runs) > 0 {
					windows++
				}
				end, cut := int64(len(s.plain)), int64(len(s.blob))
				if i+1 < len(all) {
					end, cut = all[i+1].Out, all[i+1].In
				}
				check := func(blob []byte, want []byte) {
					t.Helper()
					if got, err := resume(blob, p, int64(len(want))); err != nil || !bytes.Equal(got, want) {
						t.Fatalf("%s: %d bytes from point %d of %d, want %d; %v", name, len(got), i, len(all), len(want), err)
					}
				}
				check(s.blob[p.In:cut], s.plain[p.Out:end])
				check(s.blob[p.In:], s.plain[p.Out:min(int64(len(s.plain)), end+40_000)])
				if i%8 == 1 {
					check(s.blob[p.In:], s.plain[p.Out:])
				}
			}
		}
	}
	t.Logf("%d points, %d with a window", count, windows)
	if windows < 100 {
		t.Error("too few windows")
	}
}

// TestResumeWithoutALimit reads from points to the end of the blob, as far as an int64 says.
func TestResumeWithoutALimit(t *testing.T) {
	s := streams(t)["program/small members"]
	for i, p := range points(t, s.blob, 0) {
		if i%7 > 0 {
			continue
		}
		if got, err := resume(s.blob[p.In:], p, math.MaxInt64); err != nil || !bytes.Equal(got, s.plain[p.Out:]) {
			t.Errorf("point %d: %d bytes, want %d; %v", i, len(got), len(s.plain)-int(p.Out), err)
		}
	}
}

// TestPointsAreAsFarApartAsWanted and not much farther where blocks are small.
func TestPointsAreAsFarApartAsWanted(t *testing.T) {
	s := streams(t)["program/dictionaries"]
	for _, spacing := range []int64{32 << 10, 100 << 10, 1 << 20} {
		var last inflate.Point
		for i, p := range points(t, s.blob, spacing) {
			if d := p.Out - last.Out; i > 0 && (d < spacing || d > spacing+128<<10) {
				t.Errorf("spacing %d: point %d is %d bytes behind the last one", spacing, i, d)
			}
			last = p
		}
	}
}

// TestPlacesAreKnownBeforeTheBytesBehindThem compares the places with what was read until
// then, and with the points.
func TestPlacesAreKnownBeforeTheBytesBehindThem(t *testing.T) {
	for _, name := range []string{"program/dictionaries", "all sorts"} {
		s := streams(t)[name]
		z := inflate.NewReader(bytes.NewReader(s.blob))
		read := int64(0)
		var places []inflate.Place
		i := 0
		z.OnPoint(0, func(p inflate.Point) error {
			if i == len(places) || p.Place != places[i] {
				t.Errorf("%s: point %d is not at its place", name, i)
			}
			i++
			return nil
		})
		z.OnPlace(func(p inflate.Place) {
			if p.Out < read {
				t.Errorf("%s: %d bytes were read before place %d", name, read-p.Out, len(places))
			}
			places = append(places, p)
		})
		for b := make([]byte, 10_000); ; {
			n, err := z.Read(b)
			if read += int64(n); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if i != len(places) || i < 10 {
			t.Errorf("%s: %d points, %d places", name, i, len(places))
		}
	}
}

// TestMembersNeedNoWindow looks for points at the members.
func TestMembersNeedNoWindow(t *testing.T) {
	s := streams(t)["program/members"]
	found := 0
	for _, p := range points(t, s.blob, 1<<20) {
		if !p.Header || len(p.Window.Runs) > 0 || !atMember(s.blob, int(p.In)) {
			t.Errorf("%d: not a member", p.In)
		}
		found++
	}
	if want := (len(s.plain) + 100<<10 - 1) / (100 << 10); found != want {
		t.Errorf("%d points, want %d", found, want)
	}
}

// TestResumeWithLessOfTheWindow takes bytes out of windows: a match that refers to them is
// an error, and no other bytes are given for them.
func TestResumeWithLessOfTheWindow(t *testing.T) {
	s := streams(t)["program/standard 6"]
	for i, p := range points(t, s.blob, 256<<10) {
		runs := p.Window.Runs
		if len(runs) < 3 {
			continue
		}
		skip := 0
		for _, r := range runs[:i%len(runs)] {
			skip += r.Len
		}
		gone := runs[i%len(runs)]
		p.Window.Runs = append(append([]inflate.Run{}, runs[:i%len(runs)]...), runs[i%len(runs)+1:]...)
		p.Window.Bytes = append(append([]byte{}, p.Window.Bytes[:skip]...), p.Window.Bytes[skip+gone.Len:]...)
		got, err := resume(s.blob[p.In:], p, 64<<10)
		if !errors.Is(err, inflate.ErrCorrupt) || !bytes.HasPrefix(s.plain[p.Out:], got) {
			t.Errorf("point %d: %d bytes, %v", i, len(got), err)
		}
	}
}

// TestOnPointErrorEndsTheReader: the error of a callback is that of Read.
func TestOnPointErrorEndsTheReader(t *testing.T) {
	s := streams(t)["program/standard 6"]
	full := errors.New("full")
	z := inflate.NewReader(bytes.NewReader(s.blob))
	n := 0
	z.OnPoint(64<<10, func(inflate.Point) error {
		if n++; n == 3 {
			return full
		}
		return nil
	})
	if _, err := io.Copy(io.Discard, z); !errors.Is(err, full) || n != 3 {
		t.Errorf("%v after %d points", err, n)
	}
}

func TestResumeRefusesWhatIsNoPoint(t *testing.T) {
	run := func(back, n int) inflate.Point {
		return inflate.Point{Place: inflate.Place{In: 9, Out: 1 << 20}, Window: inflate.Window{Runs: []inflate.Run{{Back: back, Len: n}}, Bytes: make([]byte, max(0, n))}}
	}
	touching := run(10, 2)
	touching.Window.Runs = append(touching.Window.Runs, inflate.Run{Back: 8, Len: 1})
	touching.Window.Bytes = make([]byte, 3)
	early := run(10, 2)
	early.Out = 9
	for name, p := range map[string]inflate.Point{
		"before the blob":     {Place: inflate.Place{In: -1}},
		"before the contents": {Place: inflate.Place{Out: -1}},
		"behind all contents": {Place: inflate.Place{Out: math.MaxInt64}},
		"eight bits":          {Place: inflate.Place{In: 5, Bits: 8}},
		"bits of no byte":     {Place: inflate.Place{In: 0, Bits: 1}},
		"more than its bits":  {Place: inflate.Place{In: 5, Bits: 2, Head: 4}},
		"member with bits":    {Place: inflate.Place{In: 5, Bits: 1, Header: true}},
		"far":                 run(32<<10+1, 4),
		"behind the point":    run(3, 4),
		"empty":               run(3, 0),
		"negative":            run(3, -1),
		"touching":            touching,
		"before all bytes":    early,
		"bytes of no run":     {Window: inflate.Window{Bytes: []byte{1}}},
	} {
		if _, err := resume(nil, p, 1); !errors.Is(err, inflate.ErrPoint) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ok := run(32<<10, 32<<10)
	if _, err := inflate.Resume(bytes.NewReader(nil), ok, 0); err != nil {
		t.Error(err)
	}
}
