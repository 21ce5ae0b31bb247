package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/fs"
)

// changeTerms changes a number in the terms that systemd has stored.
func (u *unit) changeTerms(field string, change func(old int64) int64) {
	u.t.Helper()
	files, err := u.Pass()
	for _, f := range files {
		defer f.Close()
	}
	i := slices.IndexFunc(files, func(f *os.File) bool { return f.Name() == "ladle-terms" })
	if err != nil || i < 0 {
		u.t.Fatalf("no terms are stored: %v", err)
	}
	text, err := io.ReadAll(io.NewSectionReader(files[i], 0, 1<<20))
	if err != nil {
		u.t.Fatal(err)
	}
	terms := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &terms); err != nil {
		u.t.Fatal(err)
	}
	old, err := strconv.ParseInt(string(terms[field]), 10, 64)
	if err != nil {
		u.t.Fatalf("%s in %s: %v", field, text, err)
	}
	terms[field] = strconv.AppendInt(nil, change(old), 10)
	if text, err = json.Marshal(terms); err != nil {
		u.t.Fatal(err)
	}
	if err := files[i].Truncate(0); err != nil {
		u.t.Fatal(err)
	}
	if _, err := files[i].WriteAt(text, 0); err != nil {
		u.t.Fatal(err)
	}
}

// TestNoSuccessor drops the connection, as systemd does when it gives the
// service up: readers get errors. The next start cleans up.
func TestNoSuccessor(t *testing.T) {
	u := newUnit(t, "")
	r := startReader(t, u.rootfs+"/large")
	u.inFlight(r, "read 0 100000")
	u.end(syscall.SIGTERM)
	if len(u.mounted(t)) == 0 {
		t.Error("nothing was left to a successor")
	}
	r.begin("read 3000000 100000")
	u.Drop()
	r.fails()
	r.fails()

	u.hold.Store(false)
	u.start()
	if u.has(takenOver) {
		t.Error("the daemon says that it took something over")
	}
	rootfs := filepath.Join(t.TempDir(), "rootfs")
	u.run("another", rootfs)
	again := startReader(t, rootfs+"/large")
	again.begin("read 3000000 100000")
	again.wants(u.image.want(3_000_000, 100_000))
	u.end(syscall.SIGINT)
	if left := u.mounted(t); len(left) > 0 {
		t.Errorf("still mounted: %v", left)
	}
}

// TestFailingSuccessors has successors that do not come to serve. The
// connection waits for one that does, but not for ever.
func TestFailingSuccessors(t *testing.T) {
	u := newUnit(t, "")
	r := startReader(t, u.rootfs+"/large")
	u.end(syscall.SIGTERM)
	u.configure("nonsense = true\n")
	for range 2 {
		if err := u.Launch(); err != nil {
			t.Fatal(err)
		}
		if err := u.Wait(t.Context()); err == nil {
			t.Fatal("it started with a wrong configuration")
		}
	}
	if !slices.Contains(u.Stored(), "ladle-fuse") {
		t.Fatalf("kept are %v", u.Stored())
	}
	r.begin("read 0 100000")

	// One that does comes in time.
	u.configure(onlyDemand)
	u.start()
	r.wants(u.image.want(0, 100_000))
	u.end(syscall.SIGKILL)

	// One that does not, and one that comes too late.
	u.configure("nonsense = true\n")
	if err := u.Launch(); err != nil {
		t.Fatal(err)
	}
	if err := u.Wait(t.Context()); err == nil {
		t.Fatal("it started with a wrong configuration")
	}
	r.begin("read 3000000 100000")
	u.configure(onlyDemand)
	u.changeTerms("waiting", func(since int64) int64 { return since - int64(time.Hour) })
	u.start()
	r.fails()
	if !u.has("it was not served for 1h") {
		t.Error("the log does not say why")
	}
	u.run("another", filepath.Join(t.TempDir(), "rootfs"))
	u.end(syscall.SIGINT)
}

// TestOtherTerms starts successors that cannot serve what was left.
func TestOtherTerms(t *testing.T) {
	for _, test := range []struct {
		name, config string
		format       int64 // of what was left
		why          string
	}{
		{"driver", "driver = \"fuse\"\n", fs.ConnectionFormat, "its driver is erofs, and now it is fuse"},
		{"format", "", 1000, "it is of format 1000, and this version of ladle has 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			u := newUnit(t, "driver = \"erofs\"\n")
			r := startReader(t, u.rootfs+"/large")
			u.end(syscall.SIGTERM)
			r.begin("read 0 100000")
			u.configure(onlyDemand + test.config)
			u.changeTerms("format", func(int64) int64 { return test.format })
			u.start()
			r.fails()
			if !u.has(test.why) || u.has(takenOver) {
				t.Errorf("the log does not say %q", test.why)
			}
			rootfs := filepath.Join(t.TempDir(), "rootfs")
			u.run("another", rootfs)
			again := startReader(t, rootfs+"/large")
			again.begin("read 0 100000")
			again.wants(u.image.want(0, 100_000))
			u.end(syscall.SIGINT)
		})
	}
}
