package warm

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/ladle-dev/ladle/test/image"
)

// round measures every subject once, another one first in each round.
func (b *bench) round(ctx context.Context, n int) error {
	subjects := slices.Concat(b.Subjects[n%len(b.Subjects):], b.Subjects[:n%len(b.Subjects)])
	for _, step := range []struct {
		name string
		do   func(context.Context, []string) error
	}{
		{Walk, b.walk},
		{Reads, b.reads},
		{Layers, b.layers},
	} {
		if !slices.Contains(b.Steps, step.name) {
			continue
		}
		began := time.Now()
		if err := step.do(ctx, subjects); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		b.Say("round %d of %d: %s took %.0f s", n+1, b.Rounds, step.name, time.Since(began).Seconds())
	}
	return nil
}

// inAll runs f with a root filesystem of the image for each subject.
func (b *bench) inAll(ctx context.Context, recipe string, subjects []string, f func([]*rootfs) error) (err error) {
	var all []*rootfs
	defer func() {
		for _, r := range all {
			err = errors.Join(err, r.close(context.WithoutCancel(ctx)))
		}
	}()
	for _, subject := range subjects {
		r, err := b.mount(ctx, recipe, subject)
		if err != nil {
			return err
		}
		all = append(all, r)
	}
	return f(all)
}

// probe runs a probe at a place in root filesystems and adds to figures what it
// measured.
func (b *bench) probe(ctx context.Context, name, place string, all []*rootfs, to map[string]figure) error {
	var paths []string
	for _, r := range all {
		paths = append(paths, filepath.Join(r.path, place))
	}
	times, err := runProbe(ctx, b.Probe, name, b.Touches, paths)
	if err != nil {
		return err
	}
	for i, r := range all {
		for state, f := range to {
			b.figures.add(f, r.subject, times[i][state])
		}
	}
	return nil
}

func (b *bench) walk(ctx context.Context, subjects []string) error {
	return b.inAll(ctx, b.Walk, subjects, func(all []*rootfs) error {
		err := b.probe(ctx, "walk", "", all, map[string]figure{
			allCold: walkAllCold, namesCold: walkNamesCold, warmed: walkWarm})
		if err != nil || b.tracing == nil || len(b.figures[walkRequests]) > 0 {
			return err
		}
		for _, r := range all {
			if err := b.requests(r); err != nil {
				return err
			}
		}
		return nil
	})
}

// requests counts what one more cold walk sends to FUSE.
func (b *bench) requests(r *rootfs) error {
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
	b.Say("%s: requests of a walk: %v", r.subject, counts)
	b.figures.add(walkRequests, r.subject, float64(total))
	return nil
}

func (b *bench) reads(ctx context.Context, subjects []string) error {
	return b.inAll(ctx, b.Steady, subjects, func(all []*rootfs) error {
		for _, p := range []struct {
			name, place string
			to          map[string]figure
		}{
			{"opens", image.SmallFiles, map[string]figure{allCold: opensCold, warmed: opensWarm}},
			{"stream", image.LargeFile, map[string]figure{allCold: streamCold, warmed: streamWarm}},
			{"touch", image.LargeFile, map[string]figure{allCold: touchCold}},
		} {
			if err := b.probe(ctx, p.name, p.place, all, p.to); err != nil {
				return err
			}
		}
		return nil
	})
}

// layers walks the same files in one layer and in many, and mounts both.
func (b *bench) layers(ctx context.Context, subjects []string) error {
	if err := b.mountAgain(ctx, b.Flat, subjects, flatMount, ""); err != nil {
		return err
	}
	if err := b.mountAgain(ctx, b.Spread, subjects, spreadMount, spreadPrepare); err != nil {
		return err
	}
	err := b.inAll(ctx, b.Flat, subjects, func(all []*rootfs) error {
		return b.probe(ctx, "rewalk", "", all, map[string]figure{namesCold: flatNamesCold})
	})
	if err != nil {
		return err
	}
	if len(b.figures[spreadNamesCold][Stargz]) > 0 { // it takes a minute
		subjects = slices.DeleteFunc(slices.Clone(subjects), func(s string) bool { return s == Stargz })
	}
	return b.inAll(ctx, b.Spread, subjects, func(all []*rootfs) error {
		return b.probe(ctx, "rewalk", "", all, map[string]figure{namesCold: spreadNamesCold})
	})
}

// mountAgain measures how long it takes to prepare and mount a root filesystem
// for another container, after one has ended.
func (b *bench) mountAgain(ctx context.Context, recipe string, subjects []string, both, prepare figure) error {
	for _, subject := range subjects {
		for _, counted := range []bool{false, true} {
			r, err := b.mount(ctx, recipe, subject)
			if err != nil {
				return err
			}
			if counted {
				b.figures.add(both, subject, (r.prepared + r.mounted).Seconds())
			}
			if counted && prepare != "" {
				b.figures.add(prepare, subject, r.prepared.Seconds())
			}
			if err := r.close(context.WithoutCancel(ctx)); err != nil {
				return err
			}
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
