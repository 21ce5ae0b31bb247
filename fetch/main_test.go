package fetch

import (
	"os"
	"testing"

	"github.com/ladle-dev/ladle/internal/waittest"
)

func TestMain(m *testing.M) {
	waittest.Parallel(24)
	os.Exit(m.Run())
}
