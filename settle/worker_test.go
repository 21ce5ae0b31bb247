package settle

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/hardlink"
	"github.com/ladle-dev/ladle/internal/waittest"
)

// Equal files of snapshots that nothing shows together become one inode, and these
// snapshots partners.
func TestPassLinksEqualFiles(t *testing.T) {
	b := newBed(t)
	b.commit(1, 0, "file", "etc/cron.d/table", "one")
	b.commit(2, 0, "file", "etc/cron.d/table", "two")
	b.commit(3, 2, "file")
	b.pass()
	if !b.share(1, 2, "file") || !b.arePartners(1, 2) {
		t.Error("equal files are two inodes")
	}
	if b.share(2, 3, "file") || b.arePartners(2, 3) {
		t.Error("snapshots of one chain share an inode")
	}
	if b.share(1, 2, "etc/cron.d/table") {
		t.Error("a file shares an inode that must have one name")
	}
	b.reopen()
	if !b.arePartners(1, 2) {
		t.Error("partners are forgotten by a restart")
	}
}

// No file of a member is replaced while it is shown, pinned, or was shown a moment ago.
func TestPassLeavesWhatIsNotFree(t *testing.T) {
	for name, use := range map[string]func(b *bed) (end func()){
		"shown": func(b *bed) func() {
			must(b, b.sharing.Begin(View{ID: 10, Dirs: []uint64{1, 10}}))
			return func() { b.sharing.End(10) }
		},
		"shown twice": func(b *bed) func() {
			must(b, b.sharing.Begin(View{ID: 10, Dirs: []uint64{1, 10}}))
			must(b, b.sharing.Begin(View{ID: 11, Dirs: []uint64{1, 11}, Runs: true}))
			b.sharing.End(10)
			b.pass()
			return func() { b.sharing.End(11) }
		},
		"pinned": func(b *bed) func() {
			b.pin(2, true)
			return func() { b.pin(2, false) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			b.commit(1, 0, "file")
			b.commit(2, 0, "file")
			end := use(b)
			b.pass()
			if b.share(1, 2, "file") {
				t.Error("a file was replaced")
			}
			end()
			b.pass()
			if !b.share(1, 2, "file") {
				t.Error("no file was replaced afterwards")
			}
		})
	}
	b := newBed(t)
	b.commit(1, 0, "file")
	b.commit(2, 0, "file")
	b.close()
	b.open(time.Hour)
	must(t, b.sharing.Begin(View{ID: 10, Dirs: []uint64{1, 10}}))
	b.sharing.started = time.Now().Add(-2 * time.Hour)
	b.sharing.End(10)
	b.pass()
	if again, err := b.w.Pass(t.Context()); err != nil || !again || b.share(1, 2, "file") {
		t.Errorf("a file was replaced of what was shown a moment ago, or is not to be: %v, %v", again, err)
	}
}

// The worker settles what is freed, and ends with Close.
func TestWorkerSettlesByItself(t *testing.T) {
	b := newBed(t)
	b.close()
	b.open(time.Nanosecond)
	b.w.Start(t.Context())
	b.commit(1, 0, "file")
	b.commit(2, 0, "file")
	waittest.For(t, "two files to be one", func() bool { return b.share(1, 2, "file") })
}

// A merge that shows two members keeps them apart, be it made before they settle or
// while they do: the members that are shown together are found out before calls have to
// wait, also if merges are made meanwhile.
func TestCensusIsTakenBeforeOthersWait(t *testing.T) {
	b := newBed(t)
	b.commit(1, 0, "file")
	b.commit(2, 0, "file")
	b.listing = func(times int) {
		if !b.sharing.replacing.TryRLock() {
			t.Error("others wait")
			return
		}
		b.sharing.replacing.RUnlock()
		if times > 1 && times < 4 {
			defer b.sharing.merges.Add(1) // a merge is made
		}
	}
	b.lists = 0
	b.pass()
	if !b.share(1, 2, "file") || b.lists != 4 {
		t.Errorf("after %d looks the snapshots share an inode: %v", b.lists, b.share(1, 2, "file"))
	}
	b.listing = nil
	b.commit(3, 0, "file")
	b.merge(4, 0, 1, 3)
	b.commit(5, 0, "other")
	b.commit(6, 0, "other")
	b.lists, b.listed = 0, func(times int) {
		if times == 2 {
			b.merge(7, 0, 5, 6) // the census does not have it
		}
	}
	b.pass()
	if b.share(1, 3, "file") || b.share(2, 3, "file") || b.share(5, 6, "other") {
		t.Error("what a merge shows shares an inode")
	}
}

// What settling panics with is the end of that snapshot's turn, and of nothing else: the
// next one settles.
func TestSettlePanics(t *testing.T) {
	b := newBed(t)
	b.commit(1, 0, "file")
	b.commit(2, 0, "file")
	b.lists, b.listing = 0, func(times int) {
		if times > 1 {
			panic("a bug") // within a transaction of the pool
		}
	}
	b.pass()
	if b.listing = nil; b.share(1, 2, "file") {
		t.Error("the snapshots share an inode")
	}
	b.commit(3, 0, "file")
	b.commit(4, 0, "file")
	b.pass()
	if !b.share(3, 4, "file") {
		t.Error("the snapshots share no inode")
	}
}

// Partners are not forgotten by a pass that began before there was the copy and found its
// source gone, nor while something is made that has their files, nor while a stack has
// them.
func TestPassBesideACopy(t *testing.T) {
	b := newBed(t)
	b.commit(1, 0, "one")
	b.copy(2, 0, 1)
	if !b.share(1, 2, "one") {
		t.Fatal("a copy has no links")
	}
	b.merge(3, 0, 1)
	b.remove(1)
	var all []Snapshot // the first list is from before there was the copy
	b.lists, b.listing = 0, func(times int) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if times == 1 {
			all, b.mu.all = b.mu.all, nil
		} else {
			b.mu.all = all
		}
	}
	b.pass()
	if b.lists != 2 || !b.arePartners(1, 2) {
		t.Fatalf("partners of a stack are forgotten, after %d looks", b.lists)
	}
	b.listing = nil
	b.remove(3)
	b.pin(1, true)
	b.pass()
	if !b.arePartners(1, 2) {
		t.Error("partners of what is being made are forgotten")
	}
	b.pin(1, false)
	b.pass()
	if all := sourcesOf(hardlink.Unknown); b.sharing.MustBeApart(all, []hardlink.Sources{all})[0] {
		t.Error("snapshots that are gone have partners")
	}
}

// Without its file of partners an endpoint knows that it has lost something, but for one
// that never had a snapshot.
func TestPartnersAreDeleted(t *testing.T) {
	b := newBed(t)
	merge := func() bool { return b.sharing.MustBeApart(sourcesOf(1), []hardlink.Sources{sourcesOf(2)})[0] }
	b.commit(1, 0, "file")
	b.commit(2, 0, "other")
	b.reopen()
	if merge() {
		t.Error("snapshots are partners that share nothing")
	}
	b.close()
	must(t, os.Remove(filepath.Join(b.dir, "settle", partnersFile)))
	b.open(0)
	if !merge() {
		t.Error("snapshots that may share something are no partners")
	}
	b.reopen()
	if !merge() {
		t.Error("after another start they are none")
	}
}

// Mend restores what a worker was interrupted in, and makes nothing where there was none.
func TestMend(t *testing.T) {
	b := newBed(t)
	b.commit(1, 0, "file")
	must(t, b.sharing.Mend())
	must(t, b.w.Close())
	must(t, os.WriteFile(b.sharing.opts.Dir+"/new/link", nil, 0o600))
	must(t, b.sharing.Mend())
	if _, err := os.Lstat(b.sharing.opts.Dir + "/new/link"); !os.IsNotExist(err) {
		t.Errorf("a link that was not renamed is left: %v", err)
	}
	must(t, os.RemoveAll(b.sharing.opts.Dir))
	must(t, b.sharing.Mend())
	if _, err := os.Lstat(b.sharing.opts.Dir); !os.IsNotExist(err) {
		t.Errorf("a pool was made: %v", err)
	}
}
