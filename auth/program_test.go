package auth

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/cli/cli/config/types"
)

// install puts the shell script docker-credential-NAME into PATH. Each
// run of it appends a line to the file that is returned.
func install(t *testing.T, name, script string) (runs func() int) {
	t.Helper()
	dir := t.TempDir()
	count := filepath.Join(dir, "runs")
	text := "#!/bin/sh\necho run >> " + count + "\n" + script + "\n"
	if err := os.WriteFile(filepath.Join(dir, "docker-credential-"+name), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() int {
		b, err := os.ReadFile(count)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return strings.Count(string(b), "\n")
	}
}

// answering is a helper that knows one key.
func answering(key, user, secret string) string {
	return `read -r key
if [ "$1" = get ] && [ "$key" = ` + strconv.Quote(key) + ` ]; then
	echo '{"ServerURL": "", "Username": "` + user + `", "Secret": "` + secret + `"}'
else
	echo "credentials not found in native keychain"
	exit 1
fi`
}

func TestProgram(t *testing.T) {
	for _, c := range []struct{ name, config, key, user, host, wantUser string }{
		{"for a host", `{"credHelpers": {"example.com": "test"}}`, "example.com", "u", "example.com", "u"},
		{"for all hosts", `{"credsStore": "test"}`, "example.com", "u", "example.com", "u"},
		{"for another host", `{"credHelpers": {"example.org": "test"}}`, "example.com", "u", "example.com", ""},
		{"that has none", `{"credsStore": "test"}`, "example.org", "u", "example.com", ""},
		{"that has none, but the file has", `{"credsStore": "test", "auths": {"example.com": ` + login("file", "p") + `}}`,
			"example.org", "u", "example.com", "file"},
		{"hub", `{"credHelpers": {"https://index.docker.io/v1/": "test"}}`, hubKey, "u", "registry-1.docker.io", "u"},
		{"hub by its name", `{"credHelpers": {"docker.io": "test"}}`, hubKey, "u", "docker.io", "u"},
		{"identity token", `{"credsStore": "test"}`, "example.com", "<token>", "example.com", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			install(t, "test", answering(c.key, c.user, "p"))
			dir := t.TempDir()
			write(t, dir, c.config)
			secret := ""
			if c.wantUser != "" || c.user == "<token>" {
				secret = "p"
			}
			expect(t, NewDocker(dir), c.host, c.wantUser, secret)
		})
	}
}

func TestAnswersAreKept(t *testing.T) {
	runs := install(t, "test", answering("example.com", "u", "p"))
	dir := t.TempDir()
	write(t, dir, `{"credsStore": "test"}`)
	d := NewDocker(dir)
	now := time.Now()
	d.programs.now = func() time.Time { return now }

	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { expect(t, d, "example.com", "u", "p") })
	}
	all.Wait()
	if n := runs(); n > 20 {
		t.Fatalf("%d runs", n)
	}
	before := runs()
	expect(t, d, "example.com", "u", "p")
	if n := runs(); n != before {
		t.Errorf("%d more runs within the time to live", n-before)
	}
	now = now.Add(answerTTL)
	expect(t, d, "example.com", "u", "p")
	if n := runs(); n != before+1 {
		t.Errorf("%d more runs after the time to live, want 1", n-before)
	}
	write(t, dir, `{"credsStore": "test", "auths": {}}`)
	expect(t, d, "example.com", "u", "p")
	if n := runs(); n != before+2 {
		t.Errorf("%d more runs after a change of the file, want 2", n-before)
	}
}

// Of very many hosts, only so many answers are kept.
func TestAnswersAreBounded(t *testing.T) {
	p := newPrograms(time.Now)
	for i := range 2 * maxAnswers {
		p.store(question{"docker-credential-test", strconv.Itoa(i)}, types.AuthConfig{Username: "u"}, 0)
	}
	if n := p.mu.answers.Len(); n != maxAnswers {
		t.Errorf("%d answers are kept, want %d", n, maxAnswers)
	}
}

func TestProgramFails(t *testing.T) {
	for name, script := range map[string]string{
		"exit":    "echo geheim; echo geheim >&2; exit 3",
		"garbage": "echo geheim",
		"missing": "",
	} {
		t.Run(name, func(t *testing.T) {
			if script != "" {
				install(t, name, script)
			}
			dir := t.TempDir()
			write(t, dir, `{"credsStore": "`+name+`"}`)
			_, err := NewDocker(dir).Credentials(t.Context(), Challenge{Host: "example.com"})
			if err == nil {
				t.Fatal("no error")
			}
			if strings.Contains(err.Error(), "geheim") || !strings.Contains(err.Error(), "docker-credential-"+name) {
				t.Errorf("error: %v", err)
			}
		})
	}
}
