package inflate_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/ladle-dev/ladle/inflate"
)

func TestReaderGivesWhatWasCompressed(t *testing.T) {
	for name, s := range streams(t) {
		got, err := io.ReadAll(inflate.NewReader(bytes.NewReader(s.blob)))
		if err != nil || !bytes.Equal(got, s.plain) {
			t.Errorf("%s: %d bytes, want %d; %v", name, len(got), len(s.plain), err)
		}
	}
}

// TestReaderTakesBytesAsTheyCome reads from sources that give a byte at a time, or fewer
// than asked for, or the last ones with io.EOF.
func TestReaderTakesBytesAsTheyCome(t *testing.T) {
	s := streams(t)["mixed/members"]
	for name, r := range map[string]io.Reader{
		"one":  iotest.OneByteReader(bytes.NewReader(s.blob)),
		"half": iotest.HalfReader(bytes.NewReader(s.blob)),
		"last": iotest.DataErrReader(bytes.NewReader(s.blob)),
	} {
		var b bytes.Buffer
		n, err := inflate.NewReader(r).WriteTo(&b)
		if err != nil || n != int64(len(s.plain)) || !bytes.Equal(b.Bytes(), s.plain) {
			t.Errorf("%s: %d bytes, want %d; %v", name, n, len(s.plain), err)
		}
	}
	if err := iotest.TestReader(inflate.NewReader(bytes.NewReader(s.blob)), s.plain); err != nil {
		t.Error(err)
	}
}

// TestReaderAfterReset uses a Reader for another stream, in the middle of one.
func TestReaderAfterReset(t *testing.T) {
	all := streams(t)
	a, b := all["mixed/members"], all["program/standard 6"]
	z := inflate.NewReader(bytes.NewReader(a.blob))
	if _, err := io.CopyN(io.Discard, z, int64(len(a.plain)/2)); err != nil {
		t.Fatal(err)
	}
	z.Reset(bytes.NewReader(b.blob))
	if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, b.plain) {
		t.Errorf("%d bytes, want %d; %v", len(got), len(b.plain), err)
	}
}

// TestReaderOfCutStreams expects of each beginning of a stream an error, and nothing but
// the first bytes of its contents.
func TestReaderOfCutStreams(t *testing.T) {
	all := streams(t)
	for _, name := range []string{"skewed/pieces", "program/pieces", "few/small members", "noise/pieces"} {
		s := all[name]
		for n := range min(len(s.blob), 5000) {
			got, err := io.ReadAll(inflate.NewReader(bytes.NewReader(s.blob[:n])))
			if !bytes.HasPrefix(s.plain, got) {
				t.Fatalf("%s: wrong bytes of the first %d", name, n)
			}
			if err == nil && n > 0 && len(got) != len(s.plain) && !atMember(s.blob, n) || err != nil && err != io.ErrUnexpectedEOF {
				t.Fatalf("%s: first %d bytes: %v", name, n, err)
			}
		}
	}
}

// atMember reports whether a member begins at n.
func atMember(blob []byte, n int) bool {
	return bytes.HasPrefix(blob[n:], []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255})
}

// TestReaderOfDamagedStreams changes each byte of a stream: no other contents are taken for
// right ones.
func TestReaderOfDamagedStreams(t *testing.T) {
	s := streams(t)["program/pieces"]
	for i := range s.blob {
		if 4 <= i && i < 10 {
			continue // the header's time, flags of the compressor and operating system
		}
		blob := bytes.Clone(s.blob)
		blob[i] ^= 1 << (i % 8)
		got, err := io.ReadAll(inflate.NewReader(bytes.NewReader(blob)))
		if err == nil && bytes.Equal(got, s.plain) {
			continue // bits that nothing reads, before a stored block
		}
		if !errors.Is(err, inflate.ErrCorrupt) && err != io.ErrUnexpectedEOF {
			t.Errorf("byte %d: %v", i, err)
		}
	}
}

// TestReaderGivesTheErrorOfItsSource after the bytes that it could inflate.
func TestReaderGivesTheErrorOfItsSource(t *testing.T) {
	s := streams(t)["program/standard 6"]
	broken := errors.New("broken")
	half := len(s.blob) / 2
	want, _ := io.ReadAll(inflate.NewReader(bytes.NewReader(s.blob[:half])))
	got, err := io.ReadAll(inflate.NewReader(io.MultiReader(bytes.NewReader(s.blob[:half]), iotest.ErrReader(broken))))
	if !errors.Is(err, broken) || !bytes.Equal(got, want) || len(got) < len(s.plain)/4 {
		t.Errorf("%d bytes, want %d; %v", len(got), len(want), err)
	}
}
