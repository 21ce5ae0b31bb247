package idmap

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// mapping returns the mapping with ranges as Parse reads them.
func mapping(t testing.TB, users, groups string) Mapping {
	t.Helper()
	m, err := Parse(users, groups)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func namespaceOf(t testing.TB, m Mapping) *os.File {
	t.Helper()
	ns, err := m.Namespace()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Close(); err != nil {
			t.Error(err)
		}
	})
	return ns
}

func cloneOf(t *testing.T, source string, ns *os.File) string {
	t.Helper()
	target := t.TempDir()
	if err := Clone(source, target, ns); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(target, 0); err != nil {
			t.Error(err)
		}
	})
	return target
}

func ownerOf(t *testing.T, path string) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d:%d", st.Uid, st.Gid)
}

func TestClone(t *testing.T) {
	dir := t.TempDir()
	for name, owner := range map[string][2]int{"root": {0, 0}, "user": {1000, 100}, "far": {70000, 0}} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte(name), 0o600), os.Chown(path, owner[0], owner[1])); err != nil {
			t.Fatal(err)
		}
	}
	const nobody = 65534
	for texts, want := range map[[2]string]map[string]string{
		{"0:100000:65536", "0:200000:65536"}: {
			"root": "100000:200000", "user": "101000:200100", "far": fmt.Sprint(nobody, ":200000"), ".": "100000:200000",
		},
		{"0:0:1000,1000:1000:64536", "0:0:1,1:300001:65535"}: {
			"root": "0:0", "user": "1000:300100", "far": fmt.Sprint(nobody, ":0"), ".": "0:0",
		},
	} {
		clone := cloneOf(t, dir, namespaceOf(t, mapping(t, texts[0], texts[1])))
		for name, owner := range want {
			if got := ownerOf(t, filepath.Join(clone, name)); got != owner {
				t.Errorf("%s: owner of %s is %s, want %s", texts, name, got, owner)
			}
		}
		if err := os.WriteFile(filepath.Join(clone, "root"), nil, 0o600); !errors.Is(err, unix.EROFS) {
			t.Errorf("write: %v", err)
		}
	}
	if got := ownerOf(t, filepath.Join(dir, "user")); got != "1000:100" {
		t.Errorf("the owner has become %s", got)
	}
}

// TestCloneOfOtherFilesystem: procfs has no such clones. Nothing is mounted then.
func TestCloneOfOtherFilesystem(t *testing.T) {
	target := t.TempDir()
	err := Clone("/proc", target, namespaceOf(t, mapping(t, "0:100000:65536", "0:100000:65536")))
	if !errors.Is(err, ErrUnsupported) {
		t.Errorf("error %v", err)
	}
	if entries, err := os.ReadDir(target); err != nil || len(entries) > 0 {
		t.Errorf("there is %v, %v", entries, err)
	}
}

// BenchmarkNamespace is most of the time that a clone with a new mapping takes.
func BenchmarkNamespace(b *testing.B) {
	m := mapping(b, "0:100000:65536", "0:100000:65536")
	for b.Loop() {
		ns, err := m.Namespace()
		if err == nil {
			err = ns.Close()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
