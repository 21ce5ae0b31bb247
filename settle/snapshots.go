package settle

import (
	"context"

	"github.com/ladle-dev/ladle/hardlink"
)

// Snapshots gives access to the snapshots of an endpoint. It is used concurrently.
type Snapshots interface {
	// List returns all snapshots, in one transaction.
	List(ctx context.Context) ([]Snapshot, error)
	// Dir returns the directory of a member, an absolute path. Nothing below it is
	// written in place or renamed, but by a Worker.
	Dir(id uint64) string
	// Pinned reports whether a call in progress reads the directory of a member, or
	// makes something that may have inodes of it.
	Pinned(id uint64) bool
	// Sync returns nil when all that List returned before is on disk.
	Sync(ctx context.Context) error
}

// Snapshot is a stored snapshot.
type Snapshot struct {
	ID, Parent uint64 // Parent is 0 if there is none
	Member     bool   // it is committed, and has a directory of its own
	// Dirs are the snapshots with directories that a mount of this one shows in addition
	// to its parent's: itself, and the snapshots that a merge stacks, which may have been
	// removed.
	Dirs []uint64
	// Sources are the snapshots with inodes that such a mount shows in addition to its
	// parent's, also in directories of links.
	Sources hardlink.Sources
}

// View is an active snapshot or a view: what clients mount.
type View struct {
	ID      uint64
	Dirs    []uint64         // snapshots of which it shows the directories, itself included
	Sources hardlink.Sources // snapshots of which it shows inodes
	Runs    bool             // programs may run in it
	Merged  bool             // it may show members together for the first time
	Copied  Copied           // zero if it is no copy
}

// Copied says of which snapshots a copy has files.
type Copied struct {
	From hardlink.Sources
	// Single says that no file of which the copy has a link had another name: the copy
	// has no inode in common with partners of From.
	Single bool
}

// existing returns all snapshots, and the removed ones of which stacks of merges have
// directories or inodes.
func existing(all []Snapshot) hardlink.Sources {
	exist := hardlink.Sources{}
	for _, snapshot := range all {
		exist[snapshot.ID] = true
		for id := range snapshot.Sources {
			exist[id] = true
		}
	}
	return exist
}
