package layer

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/log"
	"github.com/sirupsen/logrus"

	"github.com/ladle-dev/ladle/store"
)

// states is a disk whose reserve the test sets, and what it logs.
type states struct {
	*testing.T
	disk    *disk
	reserve int64
	logged  strings.Builder
}

func newStates(t *testing.T) *states {
	s := &states{T: t}
	logger := logrus.New()
	logger.SetOutput(&s.logged)
	ctx := log.WithLogger(t.Context(), logrus.NewEntry(logger))
	st, err := store.Open(ctx, t.TempDir(), store.Options{Reserve: func(int64) int64 { return s.reserve }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	s.disk = &disk{ctx: ctx, store: st}
	return s
}

// want fails unless the disk has the state, and said so in one line of the log, with
// that text in it; none if it is empty.
func (s *states) want(state diskState, line string) {
	s.Helper()
	if got := s.disk.state(); got != state {
		s.Errorf("state %d, want %d", got, state)
	}
	logged := s.logged.String()
	s.logged.Reset()
	if lines := strings.Count(logged, "\n"); line == "" && lines > 0 || line != "" && (lines != 1 || !strings.Contains(logged, line)) {
		s.Errorf("logged, where %q was to be said:\n%s", line, logged)
	}
}

// Each transition of diskState, and that it is logged once.
func TestDiskStates(t *testing.T) {
	why := errors.New("why")
	synctest.Test(t, func(t *testing.T) {
		s := newStates(t)
		s.want(diskFree, "")

		s.reserve = 1 << 60
		time.Sleep(time.Second)
		s.want(diskLow, "below the reserve")
		s.want(diskLow, "")
		s.reserve = 0
		time.Sleep(time.Second)
		s.want(diskFree, "above the reserve")

		for range 3 { // each time longer
			s.disk.recordRefusal(why)
			time.Sleep(stateLifetime - time.Second)
		}
		s.want(diskFull, "disk refuses chunks")
		time.Sleep(time.Second)
		s.want(diskFree, "")

		s.reserve = 1 << 60
		time.Sleep(time.Second)
		s.disk.recordRefusal(why)
		s.logged.Reset()
		s.want(diskFull, "below the reserve")
		s.disk.recordLoss(why)
		s.want(diskLossy, "disk lost chunks")
		time.Sleep(stateLifetime - time.Second)
		s.disk.recordLoss(why)
		s.disk.recordRefusal(why)
		s.want(diskLossy, "")
		time.Sleep(stateLifetime - time.Second)
		s.disk.recordRefusal(why)
		s.want(diskLossy, "")
		time.Sleep(time.Second)
		s.want(diskFull, "")
		time.Sleep(stateLifetime)
		s.want(diskLow, "")
		s.disk.recordLoss(why)
		s.want(diskLossy, "disk lost chunks")
		time.Sleep(stateLifetime)
		s.want(diskLow, "")
	})
}

func TestWhatADiskTakes(t *testing.T) {
	for state, want := range map[diskState]struct{ ahead, requested bool }{
		diskFree: {true, true}, diskLow: {false, true}, diskFull: {false, true}, diskLossy: {false, false},
	} {
		if state.takesAhead() != want.ahead || state.takesRequested() != want.requested {
			t.Errorf("state %d: chunks fetched ahead %v, requested chunks %v", state, state.takesAhead(), state.takesRequested())
		}
	}
}
