package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/ladle-dev/ladle/internal/ztoctest"
)

func main() {
	span := flag.Int64("span", 4<<20, "bytes of the tar in a span, at least")
	flag.Parse()
	if flag.NArg() != 2 {
		flag.Usage()
		os.Exit(2)
	}
	if err := write(flag.Arg(0), flag.Arg(1), *span); err != nil {
		fmt.Fprintln(os.Stderr, "ztoc:", err)
		os.Exit(1)
	}
}

func write(from, to string, span int64) error {
	blob, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	z, err := ztoctest.Of(blob, span)
	if err != nil {
		return err
	}
	return os.WriteFile(to, z.Encode(), 0o644)
}
