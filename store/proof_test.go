package store

import (
	"bytes"
	"os"
	"testing"

	"github.com/opencontainers/go-digest"
)

// TestRests has records that are added before and after a process, and one that is damaged.
func TestRests(t *testing.T) {
	root := t.TempDir()
	records := [][]byte{[]byte("one"), bytes.Repeat([]byte("two"), 1000), []byte("three")}
	want := func(l *Layer, want ...[]byte) {
		t.Helper()
		got, err := l.Rests()
		if err != nil || len(got) != len(want) {
			t.Fatalf("%d records, want %d: %v", len(got), len(want), err)
		}
		for i := range got {
			if !bytes.Equal(got[i], want[i]) {
				t.Errorf("record %d is %.20q", i, got[i])
			}
		}
	}
	keep := func(l *Layer, record []byte, limit int64) {
		t.Helper()
		if err := l.KeepRest(record, limit); err != nil {
			t.Fatal(err)
		}
	}
	id := ID{Blob: digest.FromString("blob"), TOC: digest.FromString("toc")}
	var path string
	with := func(do func(l *Layer)) {
		t.Helper()
		s, err := Open(t.Context(), root, Options{})
		if err != nil {
			t.Fatal(err)
		}
		l, err := s.Add(id, Content{DataSize: 4096, NChunks: 1})
		if err != nil {
			t.Fatal(err)
		}
		path = l.path(restFile)
		do(l)
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	with(func(l *Layer) {
		want(l)
		keep(l, records[0], 1<<20)
		keep(l, records[1], 1<<20)
		want(l, records[:2]...)
		keep(l, records[2], 100) // the file is larger
	})
	with(func(l *Layer) {
		want(l, records[:2]...)
		keep(l, records[2], 1<<20)
		want(l, records...)
	})
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()-1); err != nil {
		t.Fatal(err)
	}
	with(func(l *Layer) {
		want(l, records[:2]...)
		keep(l, records[0], 1<<20)
		want(l, records[0], records[1], records[0])
	})
	if err := os.WriteFile(path, []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	with(func(l *Layer) {
		want(l)
		keep(l, records[0], 1<<20)
		want(l, records[0])
	})
}

// TestProof has a proof that is remembered, also when a source is added after it.
func TestProof(t *testing.T) {
	root := t.TempDir()
	id := ID{Blob: digest.FromString("blob"), TOC: digest.FromString("toc")}
	proof := Proof{DiffID: digest.FromString("tar"), Wrong: "not at all"}
	for n := range 2 {
		s, err := Open(t.Context(), root, Options{})
		if err != nil {
			t.Fatal(err)
		}
		l, err := s.Add(id, Content{DataSize: 4096, NChunks: 1})
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			if got := s.Proof(id); got != (Proof{}) {
				t.Errorf("proof %+v", got)
			}
			if err := l.SetProof(proof); err != nil {
				t.Fatal(err)
			}
			if err := l.AddSource("image"); err != nil {
				t.Fatal(err)
			}
		}
		if got := s.Proof(id); got != proof {
			t.Errorf("proof %+v, want %+v", got, proof)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	s, err := Open(t.Context(), t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := s.Proof(Imported(id.Blob, "sha256:1")); got.DiffID != "sha256:1" {
		t.Errorf("of an imported layer: %+v", got)
	}
	if got := s.Proof(id); got != (Proof{}) {
		t.Errorf("of no layer: %+v", got)
	}
}
