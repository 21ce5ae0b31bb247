package identity

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"time"
)

// Script is for python3, as root, in a container with tar, du, df and find. It
// prints a Report.
//
//go:embed identity.py
var Script string

// Report is what the script prints. All counts of what is wrong are zero on
// overlayfs whose layers are on one filesystem.
type Report struct {
	Devices   int                 // different st_dev of what is in the image
	Changed   []string            // paths whose st_dev or st_ino is another after dentries were dropped
	CopiedUp  []string            // the same for what was copied up meanwhile
	Entries   []string            // paths whose st_ino is not the d_ino of the directory
	Twice     []string            // paths that have st_dev and st_ino of others and are no links to them
	Links     map[string][]string // hard link groups: st_nlink and the paths that were looked at, by the first
	DuXdev    []string            // lines of du -x that are not those of du
	FindXdev  []string            // lines of find -xdev that are not those of find
	Df        string              // what df says a file is on
	Tar       string              // what tar -x says when it is done
	Events    []string            // what inotify tells of a file that is copied up
	MapsAgree []bool              // whether device and inode of a mapping are those of the file
}

// Parse reads what the script printed.
func Parse(printed string) (Report, error) {
	var r Report
	if err := json.Unmarshal([]byte(printed), &r); err != nil {
		return r, fmt.Errorf("identity: report %q: %w", printed[:min(len(printed), 500)], err)
	}
	return r, nil
}

// Diff returns in what two reports differ.
func Diff(want, got Report) []string {
	var all []string
	a, b := reflect.ValueOf(want), reflect.ValueOf(got)
	for i := range a.NumField() {
		x, y := a.Field(i).Interface(), b.Field(i).Interface()
		if !reflect.DeepEqual(x, y) {
			all = append(all, fmt.Sprintf("%s: %.1000s, %.1000s", a.Type().Field(i).Name, fmt.Sprint(x), fmt.Sprint(y)))
		}
	}
	return all
}

// Wrong returns what of a report is not as it is on one filesystem.
func (r Report) Wrong() []string {
	right := Report{Devices: 1, Df: "overlay", Links: r.Links, Events: r.Events, MapsAgree: r.MapsAgree}
	for _, list := range []*[]string{&r.Changed, &r.CopiedUp, &r.Entries, &r.Twice, &r.DuXdev, &r.FindXdev} {
		if len(*list) == 0 {
			*list = nil
		}
	}
	return Diff(right, r)
}

// Forget makes the kernel drop dentries and inodes that are not in use, as it
// does when memory is short, four times a second until ctx ends.
func Forget(ctx context.Context) error {
	for tick := time.NewTicker(250 * time.Millisecond); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return nil
		case <-tick.C:
			if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0); err != nil {
				return fmt.Errorf("identity: %w", err)
			}
		}
	}
}
