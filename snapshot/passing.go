package snapshot

import (
	"maps"
	"sync"

	"github.com/containerd/containerd/v2/core/snapshots"
)

// passing is the passing labels of all snapshots. They live in memory only:
// a client sets them for the time of one call of its own, and to write each
// to disk would make every step of a build wait for it.
type passing struct {
	mu struct {
		sync.Mutex
		// labels are by snapshot and key; no inner map is empty.
		labels map[string]map[string]string
	}
}

// set sets labels of the snapshot name; an empty value takes one away.
func (p *passing) set(name string, labels map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	to := p.mu.labels[name]
	if to == nil {
		to = map[string]string{}
	}
	maps.Copy(to, labels)
	p.putLocked(name, to)
}

// replace sets all labels of the snapshot name.
func (p *passing) replace(name string, labels map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.putLocked(name, maps.Clone(labels))
}

func (p *passing) putLocked(name string, labels map[string]string) {
	maps.DeleteFunc(labels, func(_, value string) bool { return value == "" })
	if len(labels) == 0 {
		delete(p.mu.labels, name)
		return
	}
	if p.mu.labels == nil {
		p.mu.labels = map[string]map[string]string{}
	}
	p.mu.labels[name] = labels
}

// addTo adds to info the labels of its snapshot.
func (p *passing) addTo(info *snapshots.Info) {
	p.mu.Lock()
	defer p.mu.Unlock()
	labels := p.mu.labels[info.Name]
	if len(labels) == 0 {
		return
	}
	if info.Labels == nil {
		info.Labels = map[string]string{}
	}
	maps.Copy(info.Labels, labels)
}

// keep forgets the labels of all snapshots for which there is false.
func (p *passing) keep(there func(name string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.mu.labels, func(name string, _ map[string]string) bool { return !there(name) })
}
