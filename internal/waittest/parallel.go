package waittest

import (
	"flag"
	"runtime"
	"strconv"
)

// Parallel lets n tests run side by side that call t.Parallel, unless there are as many
// processors or -parallel says otherwise. It is for the TestMain of packages with tests
// that wait, for timeouts and pauses, more than they work.
func Parallel(n int) {
	if !flag.Parsed() {
		flag.Parse()
	}
	parallel := flag.Lookup("test.parallel")
	if parallel.Value.String() != parallel.DefValue || runtime.GOMAXPROCS(0) >= n {
		return
	}
	if err := parallel.Value.Set(strconv.Itoa(n)); err != nil {
		panic(err)
	}
}
