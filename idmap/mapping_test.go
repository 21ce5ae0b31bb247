package idmap

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	m, err := Parse("1000:5000:1,0:100000:1000", "0:200000:65536")
	if err != nil {
		t.Fatal(err)
	}
	want := Mapping{Users: []Range{{0, 100000, 1000}, {1000, 5000, 1}}, Groups: []Range{{0, 200000, 65536}}}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("mapping %v, want %v", m, want)
	}
	for id, want := range map[uint32]uint32{0: 100000, 999: 100999, 1000: 5000} {
		if got, ok := m.User(id); !ok || got != want {
			t.Errorf("user %d is %d, %t; want %d", id, got, ok, want)
		}
	}
	if got, ok := m.User(1001); ok {
		t.Errorf("user 1001 is %d", got)
	}
	if got, ok := m.Group(65535); !ok || got != 265535 {
		t.Errorf("group 65535 is %d, %t", got, ok)
	}
	if user, group := m.Root(); user != 100000 || group != 200000 {
		t.Errorf("root is %d:%d", user, group)
	}
	if got := m.String(); got != "0:100000:1000,1000:5000:1 0:200000:65536" {
		t.Errorf("text %q", got)
	}
}

// What is refused is what the kernel refuses to be written to uid_map, and what containerd
// has no owner of a root directory from.
func TestParseRefuses(t *testing.T) {
	var many, long []string
	for i := range 341 {
		many = append(many, fmt.Sprintf("%d:%d:1", i, i))
	}
	for i := range 300 {
		long = append(long, fmt.Sprintf("%d:%d:1", i, 4_000_000_000+i))
	}
	for name, users := range map[string]string{
		"nothing":              "",
		"no range":             "0",
		"two numbers":          "0:100000",
		"four numbers":         "0:100000:65536:1",
		"a name":               "root:100000:65536",
		"a sign":               "0:-1:65536",
		"another sign":         "0:+1:65536",
		"a space":              "0:100000: 65536",
		"hexadecimal":          "0:0x10:65536",
		"an empty range":       "0:100000:65536,",
		"no size":              "0:100000:0",
		"no root":              "1:100000:65536",
		"ids above the last":   "0:100000:4294967295",
		"a number of 33 bits":  "0:4294967296:1",
		"the id of nobody":     "0:4294967295:1",
		"twice in container":   "0:100000:10,9:200000:10",
		"twice on host":        "0:100000:10,10:100009:10",
		"a range in another":   "0:100000:1000,10:200000:10",
		"too many ranges":      strings.Join(many, ","),
		"longer than a page":   strings.Join(long, ","),
		"separated by spaces":  "0:100000:10 10:200000:10",
		"all ids and one more": "0:0:4294967296",
	} {
		for _, groups := range []bool{false, true} {
			args := [2]string{users, "0:100000:65536"}
			if groups {
				args = [2]string{args[1], args[0]}
			}
			if m, err := Parse(args[0], args[1]); err == nil {
				t.Errorf("%s: %v", name, m)
			}
		}
	}
}

func TestIsNone(t *testing.T) {
	for mapping, want := range map[string]bool{
		"0:0:4294967295":             true,
		"0:0:65536":                  false,
		"0:0:1000,1000:1000:64536":   false,
		"0:100000:65536":             false,
		"0:0:1,1:1:4294967294":       false, // it maps nothing, and is mapped
		"0:1:1,1:0:1,2:2:4294967293": false,
	} {
		m, err := Parse(mapping, mapping)
		if err != nil {
			t.Fatal(mapping, err)
		}
		if got := m.IsNone(); got != want {
			t.Errorf("%s: %t", mapping, got)
		}
	}
	if !(Mapping{}).IsNone() {
		t.Error("the zero Mapping is one")
	}
}

func TestNamesDiffer(t *testing.T) {
	seen := map[string]string{}
	for _, texts := range [][2]string{
		{"0:1:1", "0:1:1"}, {"0:1:1", "0:1:2"}, {"0:1:2", "0:1:1"}, {"0:1:1,1:11:1", "0:1:1"}, {"0:1:1", "0:1:1,1:11:1"},
	} {
		m, err := Parse(texts[0], texts[1])
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[m.Name()]; ok || len(m.Name()) != 16 {
			t.Errorf("%s and %q have the name %s", m, other, m.Name())
		}
		seen[m.Name()] = m.String()
	}
}

func FuzzParse(f *testing.F) {
	f.Add("0:100000:65536", "0:0:1,1:100000:65535")
	f.Fuzz(func(t *testing.T, users, groups string) {
		m, err := Parse(users, groups)
		if err != nil {
			return
		}
		again, err := Parse(m.Text())
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Errorf("%v is %v, %v when it is read again", m, again, err)
		}
		if user, ok := m.User(0); !ok || user != m.Users[0].Host {
			t.Errorf("%v has no root", m)
		}
	})
}
