package auth

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/internal/waittest"
)

// node is what a kubelet has on its node: a configuration and the programs of providers.
type node struct {
	t   *testing.T
	dir string
	*Kubelet
	mu struct {
		sync.Mutex
		now time.Time
	}
}

// newNode makes a node with a configuration: the lines of providers, in YAML.
func newNode(t *testing.T, providers string) *node {
	n := &node{t: t, dir: t.TempDir()}
	n.write("config.yaml", "apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\nproviders:\n"+providers, 0o600)
	n.Kubelet = NewKubelet(filepath.Join(n.dir, "config.yaml"), n.dir)
	n.mu.now = time.Now()
	n.now = func() time.Time {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.mu.now
	}
	return n
}

func (n *node) pass(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.now = n.mu.now.Add(d)
}

func (n *node) write(name, text string, mode os.FileMode) {
	n.t.Helper()
	path := filepath.Join(n.dir, name)
	if err := os.WriteFile(path+".new", []byte(text), mode); err != nil {
		n.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		n.t.Fatal(err)
	}
}

// provide installs a program that answers with text and records what it was run with.
func (n *node) provide(name, text string) {
	n.t.Helper()
	n.write(name+".answer", text, 0o600)
	n.write(name, `#!/bin/sh
dir=$(dirname "$0")
{ cat; echo " $* $LEVEL $HOME"; } >>"$dir/`+name+`.runs"
cat "$dir/`+name+`.answer"
`, 0o755)
}

// runs returns what the program of a provider was run with.
func (n *node) runs(name string) []string {
	text, err := os.ReadFile(filepath.Join(n.dir, name+".runs"))
	if err != nil && !os.IsNotExist(err) {
		n.t.Fatal(err)
	}
	if len(text) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// wants fails unless the first login for an image has a user.
func (n *node) wants(image, user string) Login {
	n.t.Helper()
	registry, _, _ := strings.Cut(image, "/")
	l, err := n.Credentials(n.t.Context(), Challenge{Host: registry, Repository: image})
	if err != nil || l.User != user {
		n.t.Errorf("%s: %q, %v, want %q", image, l.User, err, user)
	}
	return l
}

func answering1(kind, duration, auths string) string {
	if duration != "" {
		duration = fmt.Sprintf(`"cacheDuration": %q,`, duration)
	}
	return `{"kind": "CredentialProviderResponse", "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
		"cacheKeyType": "` + kind + `", ` + duration + ` "auth": {` + auths + `}}`
}

func entry(location, user string) string {
	return fmt.Sprintf(`%q: {"username": %q, "password": "geheim"}`, location, user)
}

const oneProvider = `
- name: one
  apiVersion: credentialprovider.kubelet.k8s.io/v1
  matchImages: ["*.example", "registry.example:5000/team"]
  defaultCacheDuration: 1h
  args: [get, -v]
  env: [{name: LEVEL, value: "3"}]
`

// A provider is run as kubelet runs it, for images that it matches.
func TestProviderIsRun(t *testing.T) {
	t.Setenv("HOME", "/of/ladle")
	n := newNode(t, oneProvider)
	n.provide("one", answering1("Image", "", entry("registry.example", "short")+","+entry("registry.example/team", "long")))
	n.wants("third.example.org/a", "")
	n.wants("registry.example:5000/other", "")
	if runs := n.runs("one"); len(runs) != 0 {
		t.Fatalf("it was run for images that it does not match: %v", runs)
	}
	n.wants("registry.example/team/app", "long")
	n.wants("registry.example/other", "short")
	want := `{"kind":"CredentialProviderRequest","apiVersion":"credentialprovider.kubelet.k8s.io/v1","image":"registry.example/team/app"} get -v 3 /of/ladle`
	if runs := n.runs("one"); len(runs) != 2 || runs[0] != want {
		t.Errorf("runs %q, want %q", runs, want)
	}
	n.wants("third.example/a", "") // it has answered, and has none
	// A mirror is asked for by its own name.
	l, err := n.Credentials(t.Context(), Challenge{Host: "mirror.example", Repository: "registry.example/team/app"})
	if err != nil || l != (Login{}) {
		t.Errorf("%v, %v", l, err)
	}
	if runs := n.runs("one"); len(runs) != 4 || !strings.Contains(runs[3], `"mirror.example/team/app"`) {
		t.Errorf("%v", runs)
	}
}

// An answer is kept for as long as it says, or the configuration, for what cacheKeyType says.
func TestAnswersOfProvidersAreKept(t *testing.T) {
	for kind, want := range map[string]int{"Image": 3, "Registry": 2, "Global": 1} {
		for _, c := range []struct {
			duration string
			life     time.Duration
		}{{"", time.Hour}, {"10m", 10 * time.Minute}, {"0s", answerTTL}} {
			n := newNode(t, oneProvider)
			n.provide("one", answering1(kind, c.duration, entry("*.example", "u")))
			ask := func() {
				var all sync.WaitGroup
				for _, image := range []string{"a.example/x", "a.example/y", "b.example/x"} {
					n.wants(image, "u")
					all.Go(func() { n.wants(image, "u") })
				}
				all.Wait()
			}
			ask()
			n.pass(c.life/5*4 - time.Second)
			ask()
			if runs := n.runs("one"); len(runs) != want {
				t.Errorf("%s %s: %d runs, want %d", kind, c.duration, len(runs), want)
			}
			if l := n.wants("a.example/x", "u"); l.Life <= 0 || l.Life > c.life/5+time.Second {
				t.Errorf("%s %s: it lives %v", kind, c.duration, l.Life)
			}
			n.pass(c.life)
			ask()
			if runs := n.runs("one"); len(runs) != 2*want {
				t.Errorf("%s %s: %d runs, want %d", kind, c.duration, len(runs), 2*want)
			}
		}
	}
}

// Calls for several images of a registry at the same time run a provider once, if its answer
// is good for all of them.
func TestProviderRunsOnceForARegistry(t *testing.T) {
	n := newNode(t, oneProvider)
	n.provide("one", answering1("Registry", "", entry("a.example", "u")))
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() { n.wants(fmt.Sprintf("a.example/%d", i), "u") })
	}
	all.Wait()
	if runs := n.runs("one"); len(runs) != 1 {
		t.Errorf("%d runs", len(runs))
	}
}

// An answer is renewed in the background before its end; nobody waits for it, and a renewal
// that fails does no harm as long as the answer is good.
func TestAnswerIsRenewedBeforeItsEnd(t *testing.T) {
	n := newNode(t, oneProvider)
	n.provide("one", answering1("Image", "100s", entry("a.example", "first")))
	n.wants("a.example/x", "first")
	n.pass(81 * time.Second)
	n.write("one", "#!/bin/sh\necho >>$0.runs\nexit 1\n", 0o755)
	n.wants("a.example/x", "first")
	waittest.For(t, "a renewal that fails", func() bool { return len(n.runs("one")) == 2 })
	n.wants("a.example/x", "first")
	n.provide("one", answering1("Image", "100s", entry("a.example", "second")))
	n.pass(11 * time.Second) // it failed, and is not run again at once
	waittest.For(t, "a renewed answer", func() bool {
		l, err := n.Credentials(t.Context(), Challenge{Host: "a.example", Repository: "a.example/x"})
		if err != nil {
			t.Fatal(err)
		}
		return l.User == "second"
	})
	n.pass(20 * time.Second) // the end of the first answer
	n.wants("a.example/x", "second")
}

// What a registry has refused is asked for anew, but not again and again.
func TestRefusedAnswerIsRenewed(t *testing.T) {
	n := newNode(t, oneProvider)
	n.provide("one", answering1("Registry", "", entry("a.example", "u")))
	c := Challenge{Host: "a.example", Repository: "a.example/x"}
	for range 3 {
		n.Refused(c, n.wants("a.example/x", "u"))
	}
	if runs := n.runs("one"); len(runs) != 1 {
		t.Errorf("%d runs", len(runs))
	}
	n.pass(retryAfter)
	n.Refused(c, Login{User: "another"})
	n.Refused(c, n.wants("a.example/x", "u"))
	n.wants("a.example/x", "u")
	if runs := n.runs("one"); len(runs) != 2 {
		t.Errorf("%d runs", len(runs))
	}
}

// A provider that fails is an error without what it printed, and no obstacle for another one.
func TestProviderFails(t *testing.T) {
	const two = oneProvider + `
- name: two
  apiVersion: credentialprovider.kubelet.k8s.io/v1beta1
  matchImages: ["a.example"]
  defaultCacheDuration: 0s
`
	good := answering1("Image", "", entry("a.example", "u"))
	for name, script := range map[string]string{
		"exits":             "echo geheim; echo geheim >&2; exit 3",
		"garbage":           "echo geheim",
		"nothing":           "true",
		"another version":   "echo '" + strings.ReplaceAll(good, "k8s.io/v1", "k8s.io/v1alpha1") + "'",
		"another kind":      "echo '" + strings.ReplaceAll(good, "ProviderResponse", "ProviderRequest") + "'",
		"unknown cache key": "echo '" + strings.ReplaceAll(good, `"Image"`, `"Geheim"`) + "'",
		"bad duration":      "echo '" + answering1("Image", "geheim", entry("a.example", "u")) + "'",
		"too much":          "head -c 2000000 /dev/zero",
		"missing":           "",
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, two)
			if script != "" {
				n.write("one", "#!/bin/sh\ncat >/dev/null\necho >>$0.runs\n"+script+"\n", 0o755)
			}
			n.provide("two", strings.ReplaceAll(answering1("Image", "", entry("a.example", "second")), "k8s.io/v1", "k8s.io/v1beta1"))
			c := Challenge{Host: "b.example", Repository: "b.example/x"}
			for range 2 {
				l, err := n.Credentials(t.Context(), c)
				if err == nil || l != (Login{}) || strings.Contains(strings.ToLower(err.Error()), "geheim") || !strings.Contains(err.Error(), "provider one: ") {
					t.Errorf("%v, %v", l, err)
				}
			}
			if runs := n.runs("one"); script != "" && len(runs) != 1 {
				t.Errorf("%d runs within %v", len(runs), retryAfter)
			}
			n.wants2("a.example/x", "second")
			n.pass(retryAfter)
			if _, err := n.Credentials(t.Context(), c); err == nil {
				t.Error("no error")
			}
			if runs := n.runs("one"); script != "" && len(runs) < 2 {
				t.Errorf("%d runs after %v", len(runs), retryAfter)
			}
		})
	}
}

// wants2 is wants where another provider may fail.
func (n *node) wants2(image, user string) {
	n.t.Helper()
	registry, _, _ := strings.Cut(image, "/")
	logins, _ := n.Logins(n.t.Context(), Challenge{Host: registry, Repository: image})
	if len(logins) != 1 || logins[0].User != user {
		n.t.Errorf("%s: %d logins, want one", image, len(logins))
	}
}

// A provider that hangs ends with the caller that waits for it.
func TestProviderHangs(t *testing.T) {
	n := newNode(t, oneProvider)
	n.write("one", "#!/bin/sh\nwhile [ ! -e \"$0.end\" ]; do sleep 0.05; done\n", 0o755)
	t.Cleanup(func() { n.write("one.end", "", 0o600) })
	s := NewSources(nil, n)
	s.wait = 100 * time.Millisecond
	answers := s.Ask(t.Context(), Challenge{Host: "a.example", Repository: "a.example/x"})
	if len(answers) != 1 || answers[0].Result != Failed || !strings.Contains(answers[0].Err.Error(), "no answer within") {
		t.Errorf("%v", answers)
	}
}

// Providers that want the token of a pod are not run, and said to be so.
func TestProviderWantsServiceAccountTokens(t *testing.T) {
	n := newNode(t, oneProvider+"  tokenAttributes: {serviceAccountTokenAudience: a, requireServiceAccount: true, cacheType: Token}\n")
	n.provide("one", answering1("Image", "", entry("a.example", "u")))
	_, err := n.Credentials(t.Context(), Challenge{Host: "a.example", Repository: "a.example/x"})
	if err == nil || !strings.Contains(err.Error(), "provider one: it wants the token of a pod's service account") {
		t.Errorf("%v", err)
	}
	if runs := n.runs("one"); len(runs) != 0 {
		t.Errorf("%v", runs)
	}
}

// A configuration may be a directory of files, YAML or JSON, of any version, and changes
// count at once.
func TestProviderConfig(t *testing.T) {
	n := newNode(t, oneProvider)
	n.Kubelet = NewKubelet(filepath.Join(n.dir, "conf.d"), n.dir)
	c := Challenge{Host: "a.example", Repository: "a.example/x"}
	wantErr := func(text string) {
		t.Helper()
		if _, err := n.Credentials(t.Context(), c); err == nil || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%v, want %s", err, text)
		}
	}
	wantErr("no such file")
	if err := os.MkdirAll(filepath.Join(n.dir, "conf.d", "dir.yaml"), 0o755); err != nil {
		t.Fatal(err)
	}
	n.write("conf.d/readme", "geheim", 0o600)
	wantErr("no file of this directory")
	for i, version := range providerVersions {
		name := fmt.Sprintf("p%d", i)
		n.write("conf.d/"+name+".json", fmt.Sprintf("{\n\t\"apiVersion\": %q,\n\t\"kind\": \"CredentialProviderConfig\", \"providers\": [{\"name\": %q, \"apiVersion\": %q, \"matchImages\": [%q], \"defaultCacheDuration\": \"1h\"}]}",
			configGroup+version, name, providerGroup+version, name+".example"), 0o600)
		n.provide(name, strings.ReplaceAll(answering1("Image", "", entry("*.example", name)), "k8s.io/v1", "k8s.io/"+version))
	}
	for _, name := range []string{"p0", "p1", "p2"} {
		n.wants(name+".example/x", name)
	}
	yaml := "apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\nproviders:\n" + oneProvider
	for text, want := range map[string]string{
		"geheim: [": "more.yml: not understood",
		strings.ReplaceAll(yaml, "kubelet.config.k8s.io/v1", "v2"):                           "of a known version",
		strings.ReplaceAll(yaml, "CredentialProviderConfig", "Config"):                       "of a known version",
		strings.ReplaceAll(yaml, "name: one", "name: p1"):                                    `provider "p1": there is another`,
		strings.ReplaceAll(yaml, "name: one", "name: ../one"):                                "not the name of a program",
		strings.ReplaceAll(yaml, "  defaultCacheDuration: 1h\n", ""):                         "defaultCacheDuration",
		strings.ReplaceAll(yaml, "defaultCacheDuration: 1h", "defaultCacheDuration: geheim"): "not understood",
		strings.ReplaceAll(yaml, `["*.example", "registry.example:5000/team"]`, "[]"):        "matchImages",
		strings.ReplaceAll(yaml, `"*.example"`, `"a[.example"`):                              "matchImages",
		strings.ReplaceAll(yaml, "credentialprovider.kubelet.k8s.io/v1", "v1"):               "apiVersion is not known",
		"apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\n":             "has no providers",
		strings.Repeat(" ", maxDocument+1):                                                   "more than",
	} {
		n.write("conf.d/more.yml", text, 0o600)
		wantErr(want)
	}
	n.write("conf.d/more.yml", yaml, 0o600)
	n.provide("one", answering1("Image", "", entry("a.example", "u")))
	n.wants("a.example/x", "u")
}

func FuzzDocument(f *testing.F) {
	f.Add([]byte("apiVersion: a\nproviders: [{name: b}]"))
	f.Add([]byte(`{"apiVersion": "a"}`))
	f.Add([]byte("a: &a [1, 1]\nb: [*a, *a]"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		var c providerConfig
		if decodeDocument(text, &c) != nil {
			return
		}
		for i := range c.Providers {
			_ = c.Providers[i].check() // it must not panic
		}
	})
}
