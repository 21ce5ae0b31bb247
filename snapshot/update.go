package snapshot

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
)

// Update changes labels: those that fields name as labels.KEY, or all. Transient
// labels are not stored and do not change the time of the last update; labels
// by which a remote snapshot is known stay as they are.
func (s *Snapshotter) Update(ctx context.Context, info snapshots.Info, fields ...string) (_ snapshots.Info, err error) {
	defer classifyFull(&err)
	c, err := changeOf(info, fields)
	if err != nil {
		return snapshots.Info{}, err
	}
	updated, err := s.store(ctx, info.Name, c)
	if err != nil {
		return snapshots.Info{}, err
	}
	switch {
	case c.all:
		s.transient.replace(info.Name, c.transient)
	case len(c.transient) > 0:
		s.transient.set(info.Name, c.transient)
	}
	s.show(&updated)
	return updated, nil
}

// change is what an Update asks for. An empty value takes a label away.
type change struct {
	stored    map[string]string
	transient map[string]string
	all       bool // labels that are not named are taken away
}

func changeOf(info snapshots.Info, fields []string) (change, error) {
	c := change{stored: map[string]string{}, transient: map[string]string{}, all: len(fields) == 0}
	for _, field := range fields {
		key, isLabel := strings.CutPrefix(field, "labels.")
		switch {
		case isLabel:
			c.add(key, info.Labels[key])
		case field == "labels":
			c.all = true
		default:
			return change{}, fmt.Errorf("update %s of snapshot %q: %w", field, info.Name, errdefs.ErrInvalidArgument)
		}
	}
	if c.all {
		for key, value := range info.Labels {
			c.add(key, value)
		}
	}
	return c, nil
}

func (c *change) add(key, value string) {
	if _, _, isTransient := cutTransient(key); isTransient {
		c.transient[key] = value
	} else if !isOwn(key) {
		c.stored[key] = value
	}
}

// store writes what of c is stored, if anything, and returns the outcome.
func (s *Snapshotter) store(ctx context.Context, name string, c change) (snapshots.Info, error) {
	write := c.all || len(c.stored) > 0
	var updated snapshots.Info
	err := s.meta.WithTransaction(ctx, write, func(ctx context.Context) error {
		_, present, _, err := storage.GetInfo(ctx, name)
		if err != nil || !write {
			updated = present
			return err
		}
		updated, err = storage.UpdateInfo(ctx, snapshots.Info{Name: name, Labels: c.apply(present)})
		return err
	})
	return updated, err
}

// apply returns the labels that a snapshot is to have. It keeps those that no
// client sets, and a remote one its reference: it is how containerd finds it.
func (c *change) apply(present snapshots.Info) map[string]string {
	labels := map[string]string{}
	if !c.all {
		maps.Copy(labels, present.Labels)
	}
	maps.Copy(labels, c.stored)
	_, remote := layerOf(present)
	for key, value := range present.Labels {
		if isOwn(key) || remote && key == snapshots.LabelSnapshotRef {
			labels[key] = value
		}
	}
	return labels
}
