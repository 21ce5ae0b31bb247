package layer_test

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"testing"
	"time"
)

// leastParallel is how many tests run side by side that say t.Parallel, unless more
// or another number is asked for: they wait for timeouts and pauses.
const leastParallel = 6

// TestMain fails if the tests leave goroutines behind. Those of fuzzing stay.
func TestMain(m *testing.M) {
	flag.Parse()
	parallel := flag.Lookup("test.parallel")
	if parallel.Value.String() == parallel.DefValue && runtime.GOMAXPROCS(0) < leastParallel {
		if err := parallel.Value.Set(strconv.Itoa(leastParallel)); err != nil {
			panic(err)
		}
	}
	before := runtime.NumGoroutine()
	code := m.Run()
	if flag.Lookup("test.fuzz").Value.String() != "" {
		os.Exit(code)
	}
	for wait := time.Millisecond; runtime.NumGoroutine() > before; wait *= 2 {
		if wait > 5*time.Second {
			fmt.Printf("%d goroutines before the tests, now %d:\n", before, runtime.NumGoroutine())
			_ = pprof.Lookup("goroutine").WriteTo(os.Stdout, 1)
			code = 1
			break
		}
		time.Sleep(wait)
	}
	os.Exit(code)
}
