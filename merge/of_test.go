package merge

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// layersWith makes directories that have the given files.
func layersWith(t *testing.T, layers ...[]string) (dirs []string) {
	t.Helper()
	root := t.TempDir()
	for i, files := range layers {
		dir := filepath.Join(root, string(rune('a'+i)))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(name+dir), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		dirs = append(dirs, dir)
	}
	return dirs
}

// A diff says which directories it has links to: those of which it has files, and
// not those of which it has directories only, or copies.
func TestDiffFrom(t *testing.T) {
	dirs := layersWith(t, []string{"x/top"}, []string{"x/middle", "y/z/deep"}, []string{"x/top", "x/middle"}, nil)
	if err := os.MkdirAll(filepath.Join(dirs[3], "only/dirs"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		find func() (*Diff, error)
		want []string
	}{
		"compare": {func() (*Diff, error) { return Compare(t.Context(), nil, dirs, Options{}) }, dirs[:2]},
		"squash":  {func() (*Diff, error) { return Squash(t.Context(), dirs[1:], Options{}) }, dirs[1:3]},
		"scan":    {func() (*Diff, error) { return Scan(t.Context(), dirs[1], dirs[2:], Options{}) }, dirs[1:2]},
		"accumulate": {func() (*Diff, error) {
			return Accumulate(t.Context(), []Shown{{Dir: dirs[2], Attributed: []string{"x"}}, {Dir: dirs[1]}}, Options{})
		}, nil},
		"copies": {func() (*Diff, error) {
			if err := os.Link(filepath.Join(dirs[1], "x/middle"), filepath.Join(dirs[1], "x/link")); err != nil {
				return nil, err
			}
			if err := os.Link(filepath.Join(dirs[1], "y/z/deep"), filepath.Join(dirs[1], "x/deep")); err != nil {
				return nil, err
			}
			defer os.Remove(filepath.Join(dirs[1], "x/link"))
			defer os.Remove(filepath.Join(dirs[1], "x/deep"))
			return Compare(t.Context(), nil, dirs[:2], Options{Apart: true})
		}, dirs[:1]},
	} {
		t.Run(name, func(t *testing.T) {
			diff, err := test.find()
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(diff.From, test.want) {
				t.Errorf("links to files of %v, want %v", diff.From, test.want)
			}
		})
	}
}

// What a made directory has links to can be read from it, unless it was not said,
// or it is more than an extended attribute takes.
func TestOf(t *testing.T) {
	dirs := layersWith(t, []string{"file"})
	many := make([]uint64, 1000)
	for i := range many {
		many[i] = uint64(1_000_000 + i*i)
	}
	for name, test := range map[string]struct {
		of    []uint64
		known bool
	}{
		"none": {[]uint64{}, true}, "some": {[]uint64{7, 3, 1 << 62, 3}, true}, "many": {many, true},
		"not known": {nil, false}, "too many": {append(make([]uint64, 0, 100_000), spread(2_000)...), false},
	} {
		t.Run(name, func(t *testing.T) {
			diff, err := Compare(t.Context(), nil, dirs, Options{})
			if err != nil {
				t.Fatal(err)
			}
			made := filepath.Join(t.TempDir(), "made")
			diff.Of = test.of
			if _, err := diff.Make(t.Context(), made); err != nil {
				t.Fatal(err)
			}
			got, known, err := Of(made, Options{})
			want := slices.Compact(slices.Sorted(slices.Values(test.of)))
			if err != nil || known != test.known || known && !slices.Equal(got, want) {
				t.Errorf("of %v, %v, %v", got, known, err)
			}
		})
	}
}

// spread is n numbers that are far from each other.
func spread(n int) (ids []uint64) {
	for i := range n {
		ids = append(ids, uint64(i)<<40)
	}
	return ids
}
