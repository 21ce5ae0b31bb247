package report

import (
	"os"
	"time"
)

func ExampleTable() {
	var t Table
	t.Row("", "ready", "bytes")
	t.Row("overlayfs", Seconds(12345*time.Millisecond), Bytes(285_000_000))
	t.Row("ladle", Seconds(time.Second), Bytes(33_000_000))
	t.Row("ratio", Ratio(12.345, 1), Ratio(285, 33))
	t.Print(os.Stdout)
	// Output:
	//               ready      bytes
	// overlayfs   12.35 s   285.0 MB
	// ladle        1.00 s    33.0 MB
	// ratio        12.3 x      8.6 x
}
