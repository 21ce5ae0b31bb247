// Command soci makes ztocs by SOCI's own builder.
//
//	soci [-span 4194304] BLOB ZTOC
//
// BLOB is a layer that is compressed by gzip. It needs a C compiler, and the headers of zlib
// (zlib1g-dev).
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/awslabs/soci-snapshotter/ztoc"
)

func main() {
	span := flag.Int64("span", 4<<20, "bytes of the tar in a span, at least")
	flag.Parse()
	if flag.NArg() != 2 {
		flag.Usage()
		os.Exit(2)
	}
	if err := build(flag.Arg(0), flag.Arg(1), *span); err != nil {
		fmt.Fprintln(os.Stderr, "soci:", err)
		os.Exit(1)
	}
}

func build(blob, out string, span int64) error {
	z, err := ztoc.NewBuilder("AWS SOCI CLI v0.2").BuildZtoc(blob, span)
	if err != nil {
		return err
	}
	r, _, err := ztoc.Marshal(z)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return os.WriteFile(out, b, 0o644)
}
