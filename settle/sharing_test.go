package settle

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/hardlink"
)

var sourcesOf = hardlink.SourcesOf

// No file is replaced from before a snapshot is made until its View is noted, and none
// is made while files are replaced.
func TestMakeAndReplaceExcludeEachOther(t *testing.T) {
	b := newBed(t)
	b.commit(1, 0, "file")
	must(t, b.sharing.Make(func() (View, error) {
		if b.sharing.replacing.TryLock() {
			b.sharing.replacing.Unlock()
			t.Error("files may be replaced while a snapshot is made")
		}
		return View{ID: 2, Dirs: []uint64{1, 2}}, nil
	}))
	b.w.members.list = func() ([]Snapshot, error) { return b.List(t.Context()) }
	made := make(chan error, 1)
	must(t, b.w.members.Hold(func() error {
		go func() {
			made <- b.sharing.Make(func() (View, error) { return View{ID: 3, Dirs: []uint64{1, 3}}, nil })
		}()
		if b.sharing.replacing.TryRLock() {
			b.sharing.replacing.RUnlock()
			t.Error("a snapshot may be made while files are replaced")
		}
		if count, _ := b.sharing.shown.of(1); count != 1 {
			t.Errorf("%d Views show the member, want 1", count)
		}
		return nil
	}))
	must(t, <-made)
	if count, _ := b.sharing.shown.of(1); count != 2 {
		t.Errorf("%d Views show the member, want 2", count)
	}
}

// Of a snapshot that is not made nothing is noted; of a copy that cannot be recorded
// all, until it is ended.
func TestMakeFails(t *testing.T) {
	b := newBed(t)
	b.commit(1, 0, "file")
	failed := errors.New("a reason")
	if err := b.sharing.Make(func() (View, error) { return View{ID: 2, Dirs: []uint64{1}}, failed }); !errors.Is(err, failed) {
		t.Errorf("make: %v", err)
	}
	if count, _ := b.sharing.shown.of(1); count != 0 {
		t.Error("a snapshot that was not made shows something")
	}
	must(t, b.sharing.partners.mu.db.Close()) // nothing can be written to it
	v := View{ID: 2, Dirs: []uint64{1}, Copied: Copied{From: sourcesOf(1)}}
	if err := b.sharing.Make(func() (View, error) { return v, nil }); err == nil {
		t.Error("a copy was made that is not recorded")
	}
	if count, _ := b.sharing.shown.of(1); count != 1 {
		t.Error("the snapshot is there and shows nothing")
	}
	b.sharing.End(2)
	b.sharing.End(2) // it is none any more
	if count, _ := b.sharing.shown.of(1); count != 0 {
		t.Error("the snapshot was ended and is shown")
	}
}

// That a snapshot is a copy is known when it was made, after a restart, and also if an
// earlier process ended before it was on disk.
func TestCopiesArePartners(t *testing.T) {
	b := newBed(t)
	b.commit(1, 0, "one")
	b.copy(2, 0, 1)
	b.copy(3, 0, 2) // a copy of a copy
	for range 2 {
		for _, pair := range [][2]uint64{{1, 2}, {2, 3}, {1, 3}} {
			if !b.arePartners(pair[0], pair[1]) {
				t.Errorf("%v are no partners", pair)
			}
		}
		b.reopen()
	}
	b.close()
	must(t, makePartners(b.sharing.partners.file, nil)) // as before the copies were recorded
	b.open(0)
	for range 2 { // also if it was on disk
		must(t, b.sharing.Begin(View{ID: 2, Copied: Copied{From: sourcesOf(1)}}))
		if !b.arePartners(1, 2) || b.arePartners(2, 3) {
			t.Error("the partners are not exactly 1 and 2")
		}
	}
}

// A copy takes what nothing that runs sees, and what its parent does not show: of files
// that may be elsewhere, too, only those that are not.
func TestLink(t *testing.T) {
	for name, test := range map[string]struct {
		linking Linking
		running hardlink.Sources
		single  bool
		err     error
	}{
		"nothing beside":                 {Linking{From: sourcesOf(1), Below: sourcesOf(9)}, sourcesOf(9), false, nil},
		"no parent":                      {Linking{From: sourcesOf(1)}, nil, false, nil},
		"asked for":                      {Linking{From: sourcesOf(5), Single: true}, nil, true, nil},
		"partners below":                 {Linking{From: sourcesOf(1), Below: sourcesOf(9, 2)}, nil, true, nil},
		"partners running":               {Linking{From: sourcesOf(1)}, sourcesOf(2), true, nil},
		"anything below":                 {Linking{From: sourcesOf(5), Below: sourcesOf(hardlink.Unknown)}, nil, false, errShownSource},
		"source below":                   {Linking{From: sourcesOf(1, 5), Below: sourcesOf(5)}, nil, false, errShownSource},
		"source running":                 {Linking{From: sourcesOf(1, 5)}, sourcesOf(5), false, errRunningSource},
		"source running, one name":       {Linking{From: sourcesOf(5), Single: true}, sourcesOf(5), false, errRunningSource},
		"anything running":               {Linking{From: sourcesOf(5)}, sourcesOf(hardlink.Unknown), false, errRunningSource},
		"source that is not known":       {Linking{From: sourcesOf(hardlink.Unknown)}, nil, false, errUnknownSource},
		"partner of a partner is no one": {Linking{From: sourcesOf(3), Below: sourcesOf(1)}, sourcesOf(1), false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			must(t, b.sharing.partners.addSettled(2, []uint64{1}))
			must(t, b.sharing.partners.addSettled(3, []uint64{2}))
			if test.running != nil {
				must(t, b.sharing.Begin(View{ID: 20, Sources: test.running, Runs: true}))
			}
			must(t, b.sharing.Begin(View{ID: 21, Sources: sourcesOf(1, 2, 3, 5)})) // nothing runs in it
			copied, done, err := b.sharing.Link(test.linking)
			if !errors.Is(err, test.err) || err == nil && copied.Single != test.single {
				t.Errorf("%+v, %v", copied, err)
			}
			if err == nil {
				done()
				if !slices.Equal(copied.From.List(), test.linking.From.List()) {
					t.Errorf("it is from %v", copied.From.List())
				}
			}
		})
	}
}

// What is to run where a source is shown, or a partner of it, waits until its files have
// their names, and no file gets one while it runs.
func TestWaitLinked(t *testing.T) {
	b := newBed(t)
	must(t, b.sharing.partners.addSettled(2, []uint64{1}))
	_, done, err := b.sharing.Link(Linking{From: sourcesOf(1)})
	must(t, err)
	for id, v := range map[uint64]View{
		10: {Sources: sourcesOf(5), Runs: true},
		11: {Sources: sourcesOf(1)},
	} {
		v.ID = id
		must(t, b.sharing.Begin(v))
		must(t, b.sharing.WaitLinked(t.Context(), id))
	}
	must(t, b.sharing.WaitLinked(t.Context(), 12)) // there is none
	var waiting []uint64
	for id, sources := range map[uint64]hardlink.Sources{20: sourcesOf(1), 21: sourcesOf(2, 5), 22: sourcesOf(hardlink.Unknown)} {
		must(t, b.sharing.Begin(View{ID: id, Sources: sources, Runs: true}))
		waiting = append(waiting, id)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if err := b.sharing.WaitLinked(ctx, id); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%d does not wait: %v", id, err)
		}
		cancel()
	}
	waited := make(chan error, len(waiting))
	for _, id := range waiting {
		go func() { waited <- b.sharing.WaitLinked(t.Context(), id) }()
	}
	done()
	for range waiting {
		must(t, <-waited)
	}
	if _, _, err := b.sharing.Link(Linking{From: sourcesOf(1)}); !errors.Is(err, errRunningSource) {
		t.Errorf("files get names while something runs: %v", err)
	}
	for _, id := range waiting {
		b.sharing.End(id)
	}
	_, done, err = b.sharing.Link(Linking{From: sourcesOf(1)})
	must(t, err)
	done()
}

// Diffs are apart if what is below them, in the parent or in the merge, has a partner of
// theirs; those below that are apart do not count, since they share no inode.
func TestMustBeApart(t *testing.T) {
	b := newBed(t)
	must(t, b.sharing.partners.addSettled(2, []uint64{1}))
	must(t, b.sharing.partners.addSettled(4, []uint64{3}))
	must(t, b.sharing.partners.addSettled(5, []uint64{2}))
	unknown := sourcesOf(hardlink.Unknown)
	for name, test := range map[string]struct {
		parent hardlink.Sources
		diffs  []hardlink.Sources
		want   []bool
	}{
		"nothing":                 {nil, nil, nil},
		"no partners":             {sourcesOf(1, 7), []hardlink.Sources{sourcesOf(3), sourcesOf(8)}, []bool{false, false}},
		"of the parent":           {sourcesOf(1, 7), []hardlink.Sources{sourcesOf(3), sourcesOf(2, 8)}, []bool{false, true}},
		"of a diff":               {sourcesOf(7), []hardlink.Sources{sourcesOf(3), sourcesOf(1), sourcesOf(4)}, []bool{false, false, true}},
		"of a diff that is apart": {sourcesOf(1), []hardlink.Sources{sourcesOf(2), sourcesOf(5)}, []bool{true, false}},
		"itself":                  {sourcesOf(1), []hardlink.Sources{sourcesOf(1)}, []bool{false}},
		"of anything":             {unknown, []hardlink.Sources{sourcesOf(9), sourcesOf(3)}, []bool{false, true}},
		"anything":                {sourcesOf(3), []hardlink.Sources{unknown, sourcesOf(9)}, []bool{true, false}},
		"anything of none":        {sourcesOf(9), []hardlink.Sources{unknown}, []bool{false}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := b.sharing.MustBeApart(test.parent, test.diffs); !slices.Equal(got, test.want) {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

// One call after the other decides by names of files; one that waits can be given up.
func TestLockNames(t *testing.T) {
	b := newBed(t)
	unlock, err := b.sharing.LockNames(t.Context())
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := b.sharing.LockNames(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("locked twice: %v", err)
	}
	locked := make(chan error, 1)
	go func() {
		unlock, err := b.sharing.LockNames(t.Context())
		if err == nil {
			unlock()
		}
		locked <- err
	}()
	unlock()
	must(t, <-locked)
}
