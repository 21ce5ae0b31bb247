package settle

import (
	"context"
	"errors"

	"github.com/ladle-dev/ladle/hardlink"
)

// Reasons for which Link refuses a copy.
var (
	errUnknownSource = errors.New("the source has files of snapshots that are not known")
	errShownSource   = errors.New("the parent shows the source")
	errRunningSource = errors.New("programs may run where the source is shown")
)

// Linking is a copy that Link is asked to permit.
type Linking struct {
	From  hardlink.Sources // snapshots of which the copied files are; they are pinned
	Below hardlink.Sources // snapshots of which the parent of the copy shows inodes
	// Single says that only files with one name may be linked, for a reason of the
	// caller's.
	Single bool
}

// Link permits a copy to add names to files of l.From until done is called, or returns the
// reason why it must not. Single is set in the result if only files with one name may be
// linked: a file with several names may also be in a snapshot below the copy, or in one that
// is running. The caller holds LockNames until Make has returned for the copy.
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

// WaitLinked waits until no copy is adding names to files that programs in the View id may
// read. Link refuses later copies that would. The error is that of ctx.
func (s *Sharing) WaitLinked(ctx context.Context, id uint64) error { return s.shown.wait(ctx, id) }
