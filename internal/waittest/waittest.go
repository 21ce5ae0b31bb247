package waittest

import (
	"testing"
	"time"
)

// limit is long enough for a machine that is busy with other tests.
const limit = time.Minute

// For calls is until it returns true. After a minute it ends the test with an error that
// says what it waited for.
func For(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s for %v", what, limit)
		}
	}
}
