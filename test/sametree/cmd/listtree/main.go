// Command listtree writes the listing of a root filesystem, its own by default.
//
//	listtree [-since UNIX-NANOSECONDS] [-no-content] [ROOT]
package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/ladle-dev/ladle/test/sametree"
)

func main() {
	since := flag.Int64("since", 0, "when the container was about to be made, in nanoseconds since 1970")
	noContent := flag.Bool("no-content", false, "list no digests of contents")
	flag.Parse()
	options := sametree.Options{NoContent: *noContent}
	if *since != 0 {
		options.Since = time.Unix(0, *since)
	}
	root := flag.Arg(0)
	if root == "" {
		root = "/"
	}
	if err := sametree.List(os.Stdout, root, options); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
