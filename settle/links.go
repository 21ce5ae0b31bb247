package settle

import (
	"context"
	"errors"

	"github.com/ladle-dev/ladle/hardlink"
)

// Why Link refuses a copy.
var (
	errUnknownSource = errors.New("the source has files of snapshots that are not known")
	errShownSource   = errors.New("the parent shows the source")
	errRunningSource = errors.New("programs may run where the source is shown")
)

// Linking is a copy that is to be made.
type Linking struct {
	From  hardlink.Sources // the source of the copy has inodes of these, which are pinned
	Below hardlink.Sources // what the copy is over has inodes of these
	// Single says that only files with one name may be linked, for a reason that the
	// caller knows.
	Single bool
}

// Link lets a copy add names to files of l.From until done is called, or returns why it
// must not. In the result Single is set if only files with one name may be linked: one
// with several may be in a snapshot that the copy is over, or that is running. The caller
// has locked names, and keeps the lock until Make was called for the copy.
func (s *Sharing) Link(l Linking) (copied Copied, done func(), err error) {
	if !l.From.Known() {
		return Copied{}, nil, errUnknownSource
	}
	if l.From.Meets(l.Below) {
		return Copied{}, nil, errShownSource
	}
	partners := s.partners.of(l.From)
	copied = Copied{From: l.From, Single: l.Single || partners.Meets(l.Below) || s.shown.runs(partners)}
	linking := l.From
	if !copied.Single {
		linking = linking.With(partners)
	}
	done, ok := s.shown.link(linking)
	if !ok {
		return Copied{}, nil, errRunningSource
	}
	return copied, done, nil
}

// WaitLinked returns nil when no copy is adding names to files that the View id shows and
// programs in it may read. A copy that begins later adds none to these. The error is that
// of ctx.
func (s *Sharing) WaitLinked(ctx context.Context, id uint64) error { return s.shown.wait(ctx, id) }
