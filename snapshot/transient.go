package snapshot

import (
	"maps"
	"sync"

	"github.com/containerd/containerd/v2/core/snapshots"
)

// transient is the transient labels (cutTransient) of all snapshots. They are in memory
// only: a client sets them for the time of one call of its own, and if each was written to
// disk, every step of a build would wait for that.
type transient struct {
	mu struct {
		sync.Mutex
		// labels are by snapshot and key.
		//
		// INVARIANT: no inner map is empty.
		labels map[string]map[string]string
	}
}

// set sets labels of the snapshot name; an empty value removes one.
func (t *transient) set(name string, labels map[string]string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	to := t.mu.labels[name]
	if to == nil {
		to = map[string]string{}
	}
	maps.Copy(to, labels)
	t.putLocked(name, to)
}

// replace sets all labels of the snapshot name.
func (t *transient) replace(name string, labels map[string]string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.putLocked(name, maps.Clone(labels))
}

func (t *transient) putLocked(name string, labels map[string]string) {
	maps.DeleteFunc(labels, func(_, value string) bool { return value == "" })
	if len(labels) == 0 {
		delete(t.mu.labels, name)
		return
	}
	if t.mu.labels == nil {
		t.mu.labels = map[string]map[string]string{}
	}
	t.mu.labels[name] = labels
}

// addTo adds to info the labels of its snapshot.
func (t *transient) addTo(info *snapshots.Info) {
	t.mu.Lock()
	defer t.mu.Unlock()
	labels := t.mu.labels[info.Name]
	if len(labels) == 0 {
		return
	}
	if info.Labels == nil {
		info.Labels = map[string]string{}
	}
	maps.Copy(info.Labels, labels)
}

// drop removes the labels of every snapshot for which exists(name) is false.
func (t *transient) drop(exists func(name string) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.mu.labels, func(name string, _ map[string]string) bool { return !exists(name) })
}
