package layer_test

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/internal/waittest"
)

// TestMain fails if the tests leave goroutines behind. Those of fuzzing stay.
func TestMain(m *testing.M) {
	waittest.Parallel(16)
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
