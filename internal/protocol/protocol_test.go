package protocol

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// labelPrefix begins the labels of the protocol.
const labelPrefix = "containerd.io/snapshot/ladle."

// server returns the packages of this module that have the protocol.
func server(t *testing.T) names { return parse(t, "../../auth", "../../merge", "../../snapshot") }

func client(t *testing.T) names { return parse(t, "../../buildkit/daemon/ladle") }

func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every label on the page consists of strings of the server, and every label of the client
// begins one on the page: ladle.merge.<n>.lower is "ladle.merge." and "lower".
func TestLabels(t *testing.T) {
	server, client, page := server(t), client(t), page(t)
	onPage := regexp.MustCompile(regexp.QuoteMeta(labelPrefix)+`[a-z<>.]*[a-z]`).FindAllString(page, -1)
	if len(onPage) < 7 {
		t.Fatalf("the page has the labels %q", onPage)
	}
	for _, label := range onPage {
		at := strings.LastIndexByte(label, '.') + 1
		begin, _, _ := strings.Cut(label, "<")
		if !server.strings[label] && (!server.strings[begin[:min(at, len(begin))]] || !server.strings[label[at:]]) {
			t.Errorf("docs/protocol.md: label %s is unknown to ladle", label)
		}
	}
	used := 0
	for s := range client.strings {
		if !strings.HasPrefix(s, labelPrefix) || s == labelPrefix {
			continue
		}
		used++
		if !server.strings[s] {
			t.Errorf("buildkit/daemon/ladle: %s is unknown to ladle", s)
		}
		if !slices.ContainsFunc(onPage, func(l string) bool { return l == s || s[len(s)-1] == '.' && strings.HasPrefix(l, s) }) {
			t.Errorf("buildkit/daemon/ladle: %s is not in docs/protocol.md", s)
		}
	}
	if used < 4 {
		t.Errorf("buildkit/daemon/ladle has %d labels", used)
	}
}

// Every request that the page describes has its path and the names of its parameters in
// both modules.
func TestRequests(t *testing.T) {
	server, client, page := server(t), client(t), page(t)
	requests := regexp.MustCompile("(?m)^#### `(/[a-z]+)\\?(.*)`$").FindAllStringSubmatch(page, -1)
	if len(requests) != 4 {
		t.Fatalf("the page has the requests %q", requests)
	}
	want := []string{"credentials.ladle"} // what the path of the socket ends in
	for _, r := range requests {
		want = append(want, r[1])
		for parameter := range strings.SplitSeq(r[2], "&") {
			name, _, _ := strings.Cut(parameter, "=")
			want = append(want, name)
		}
	}
	for _, s := range want {
		if !server.strings[s] {
			t.Errorf("%s is not in package auth", s)
		}
		if !client.strings[s] {
			t.Errorf("%s is not in buildkit/daemon/ladle", s)
		}
	}
}

// The members of answers have the same names, and values of the same types, in both
// modules, and are on the page.
func TestAnswers(t *testing.T) {
	server, client, page := parse(t, "../../auth"), client(t), page(t)
	onPage := map[string]bool{}
	for _, m := range regexp.MustCompile(`"([a-z_]+)":`).FindAllStringSubmatch(page, -1) {
		onPage[m[1]] = true
	}
	if len(onPage) < 13 {
		t.Fatalf("the page has the members %v", onPage)
	}
	read, written := server.members(onPage), client.members(onPage)
	for name := range onPage {
		if read[name] == "" {
			t.Errorf("member %s is not in package auth", name)
		}
		if written[name] == "" && !client.strings[name] { // some are keys of maps
			t.Errorf("member %s is not in buildkit/daemon/ladle", name)
		}
	}
	for name, kind := range written {
		if !strings.EqualFold(read[name], kind) { // host and Host
			t.Errorf("member %s has the type %s in buildkit/daemon/ladle, %q in package auth", name, kind, read[name])
		}
	}
	for name := range read {
		if !onPage[name] {
			t.Errorf("member %s of package auth is not in docs/protocol.md", name)
		}
	}
	for name := range written {
		if !onPage[name] {
			t.Errorf("member %s of buildkit/daemon/ladle is not in docs/protocol.md", name)
		}
	}
}

// members returns all members of the structs of the protocol: of those with most of their
// members on the page.
func (n names) members(onPage map[string]bool) map[string]string {
	all := map[string]string{}
	for _, s := range n.structs {
		known := 0
		for name := range s {
			if onPage[name] {
				known++
			}
		}
		if 2*known > len(s) {
			maps.Copy(all, s)
		}
	}
	return all
}
