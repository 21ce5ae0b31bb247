package warm

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/ladle-dev/ladle/test/image"
)

// round measures every subject once, another one first in each round.
func (b *bench) round(ctx context.Context, n int) error {
	steps := []struct {
		key, images string
		of          func(context.Context, string) error
	}{
		{Walk, b.Walk, b.walk},
		{Reads, b.Steady, b.reads},
		{Layers, b.Flat + " and " + b.Spread, b.layers},
	}
	for _, step := range steps {
		if !slices.Contains(b.Steps, step.key) {
			continue
		}
		for i := range b.Subjects {
			subject := b.Subjects[(i+n)%len(b.Subjects)]
			took, err := timed(func() error { return step.of(ctx, subject) })
			if err != nil {
				return fmt.Errorf("%s of %s, %s: %w", step.key, step.images, subject, err)
			}
			b.Say("round %d of %d: %s of %s: %s, %.0f s", n+1, b.Rounds, step.key, step.images, subject, took)
		}
	}
	return nil
}

// probe runs a probe in a rootfs and adds to figures what it measured.
func (b *bench) probe(ctx context.Context, name, path, subject string, to map[string]figure) error {
	times, err := probe(ctx, b.Probe, name, path, b.Touches)
	if err != nil {
		return err
	}
	for state, f := range to {
		b.figures.add(f, subject, times[state])
	}
	return nil
}

func (b *bench) walk(ctx context.Context, subject string) error {
	return b.in(ctx, b.Walk, subject, func(r *rootfs) error {
		err := b.probe(ctx, "walk", r.path, subject, map[string]figure{
			allCold: walkAllCold, namesCold: walkNamesCold, warmed: walkWarm})
		if err != nil {
			return err
		}
		return b.requests(r, subject)
	})
}

// requests counts what one more cold walk sends to FUSE.
func (b *bench) requests(r *rootfs, subject string) error {
	if b.tracing == nil || len(b.figures[walkRequests][subject]) > 0 {
		return nil
	}
	if err := dropCaches(dropNames); err != nil {
		return err
	}
	counts, err := b.tracing.count(b.node.Dir, func() error { return find(r.path) })
	if err != nil {
		return err
	}
	total := 0
	for _, n := range counts {
		total += n
	}
	b.Say("%s: requests of the walk %v", subject, counts)
	b.figures.add(walkRequests, subject, float64(total))
	return nil
}

func (b *bench) reads(ctx context.Context, subject string) error {
	return b.in(ctx, b.Steady, subject, func(r *rootfs) error {
		large := filepath.Join(r.path, image.LargeFile)
		for _, p := range []struct {
			name, path string
			to         map[string]figure
		}{
			{"opens", filepath.Join(r.path, image.SmallFiles), map[string]figure{allCold: opensCold, warmed: opensWarm}},
			{"stream", large, map[string]figure{allCold: streamCold, warmed: streamWarm}},
			{"touch", large, map[string]figure{allCold: touchCold}},
		} {
			if err := b.probe(ctx, p.name, p.path, subject, p.to); err != nil {
				return err
			}
		}
		return nil
	})
}

// layers walks the same files in one layer and in many, and mounts both.
func (b *bench) layers(ctx context.Context, subject string) error {
	for _, l := range []struct {
		recipe         string
		walk           figure
		mount, prepare figure
	}{
		{b.Flat, flatNamesCold, flatMount, ""},
		{b.Spread, spreadNamesCold, spreadMount, spreadPrepare},
	} {
		if err := b.mount(ctx, subject, l.recipe, l.mount, l.prepare); err != nil {
			return err
		}
		if l.recipe == b.Spread && subject == Stargz && len(b.figures[l.walk][subject]) > 0 {
			continue // it takes a minute
		}
		err := b.in(ctx, l.recipe, subject, func(r *rootfs) error {
			return b.probe(ctx, "rewalk", r.path, subject, map[string]figure{namesCold: l.walk})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// mount prepares and mounts a root filesystem, as a second container of the
// image would have it done: after the first has ended.
func (b *bench) mount(ctx context.Context, subject, recipe string, both, prepare figure) error {
	for _, counted := range []bool{false, true} {
		err := b.in(ctx, recipe, subject, func(r *rootfs) error {
			if counted {
				b.figures.add(both, subject, (r.prepared + r.mounted).Seconds())
			}
			if counted && prepare != "" {
				b.figures.add(prepare, subject, r.prepared.Seconds())
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// daemons asks how much memory the daemons have, after everything.
func (b *bench) daemons() error {
	for _, d := range b.node.Daemons {
		m, err := memoryOf(d.PID())
		if err != nil {
			return err
		}
		b.figures.add(daemonRSS, d.Name, m.rss)
		b.figures.add(daemonPSS, d.Name, m.pss)
	}
	return nil
}
