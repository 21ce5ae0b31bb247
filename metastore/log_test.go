package metastore

import (
	"bytes"
	"testing"

	"github.com/containerd/log"
	"github.com/sirupsen/logrus"
)

// The metadata is saved without a word in the log, at any level.
func TestSavingIsNotLogged(t *testing.T) {
	var out bytes.Buffer
	logger := logrus.New()
	logger.SetLevel(logrus.TraceLevel)
	logger.SetOutput(&out)
	s := open(t, t.TempDir())
	commit(t, s, "one", "")
	must(t, s.save(log.WithLogger(t.Context(), logrus.NewEntry(logger))))
	if got := savedKeys(t, s); len(got) != 1 {
		t.Errorf("saved are %v", got)
	}
	if out.Len() > 0 {
		t.Errorf("logged: %s", out.String())
	}
}
