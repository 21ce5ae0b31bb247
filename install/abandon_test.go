package install

import (
	"context"
	"slices"
	"strings"
	"testing"
)

// abandoned ends a run without a chance to put anything back.
type abandoned struct{}

// abandon runs do until it is about to take its n-th step. It reports whether there was one.
func abandon(t *testing.T, o Options, n int, do func(context.Context, Options) error) (ended bool) {
	t.Helper()
	steps := 0
	o.Step = func(string) {
		if steps++; steps == n {
			panic(abandoned{})
		}
	}
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(abandoned); !ok {
				panic(r)
			}
			ended = true
		}
	}()
	if err := do(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	return false
}

func doInstall(ctx context.Context, o Options) error { _, err := Install(ctx, o); return err }
func doUndo(ctx context.Context, o Options) error    { _, err := Undo(ctx, o); return err }

// Whatever run is abandoned before whatever step, and whatever run follows, what was there before the first
// one is known: the last undo brings it back.
func TestWhatWasBeforeIsNeverForgotten(t *testing.T) {
	runs := map[string]func(context.Context, Options) error{
		"install": doInstall, "undo": doUndo,
		"another mode": func(ctx context.Context, o Options) error {
			o.Mode = &Mode{Runtimes: []string{"lazy"}}
			return doInstall(ctx, o)
		},
		"another prefix": func(ctx context.Context, o Options) error {
			o.Prefix = "/opt/ladle"
			return doInstall(ctx, o)
		},
	}
	for _, first := range []string{"install", "undo"} {
		begin := runs[first]
		for second, follow := range runs {
			t.Run(first+", "+second, func(t *testing.T) {
				t.Parallel()
				for n, more := 1, true; more; n++ {
					root := host(t, map[string]string{"/etc/containerd/config.toml": "version = 3\n", "/etc/ladle/config.toml": "# Mine.\n"})
					o := options(root)
					before := list(t, root)
					if first == "undo" {
						if err := doInstall(t.Context(), o); err != nil {
							t.Fatal(err)
						}
					}
					more = abandon(t, o, n, begin)
					if err := follow(t.Context(), o); err != nil && !strings.Contains(err.Error(), "nothing to undo") {
						t.Fatalf("step %d: %v", n, err)
					}
					if err := doUndo(t.Context(), o); err != nil && !strings.Contains(err.Error(), "nothing to undo") {
						t.Fatalf("step %d: %v", n, err)
					}
					if got := list(t, root); !slices.Equal(got, before) {
						t.Fatalf("step %d: there is\n%s\nwant\n%s", n, strings.Join(got, "\n"), strings.Join(before, "\n"))
					}
				}
			})
		}
	}
}

// A second run that is abandoned, too, has not taken the files of the first one for those of before.
func TestAbandonedTwice(t *testing.T) {
	for n := 1; ; n++ {
		root := host(t, map[string]string{unitPath: "# An older one.\n", "/etc/containerd/config.toml": "version = 3\n"})
		o := options(root)
		before := list(t, root)
		ended := abandon(t, o, n, doInstall)
		if again := abandon(t, o, n, doInstall); !ended || !again {
			if n < 8 {
				t.Errorf("there are %d steps", n)
			}
			return
		}
		if err := doUndo(t.Context(), o); err != nil && !strings.Contains(err.Error(), "nothing to undo") {
			t.Fatal(err)
		}
		if got := list(t, root); !slices.Equal(got, before) {
			t.Fatalf("step %d: there is\n%s\nwant\n%s", n, strings.Join(got, "\n"), strings.Join(before, "\n"))
		}
	}
}
