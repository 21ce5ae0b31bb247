package ztoctest

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"io"
)

// What SOCI's builder makes of a layer: `cd testdata/soci && go run ./fixture ../..` (gcc, zlib1g-dev).
var (
	//go:embed layer.tar.gz
	builtBlob []byte
	//go:embed layer.ztoc.gz
	built []byte
)

// Built returns a ztoc that SOCI's own builder made of BuiltBlob, with spans of 64 KiB.
func Built() []byte {
	r, err := gzip.NewReader(bytes.NewReader(built))
	if err != nil {
		panic(err) // the file was compressed by gzip
	}
	b, err := io.ReadAll(r)
	if err != nil {
		panic(err)
	}
	return b
}

// BuiltBlob returns a layer of gzip, with members of all types, and two members of gzip.
func BuiltBlob() []byte { return bytes.Clone(builtBlob) }
