package auth

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ladle-dev/ladle/internal/memtest"
)

// lend serves a lender until the test ends.
func lend(t testing.TB, answer http.HandlerFunc) (socket string) {
	t.Helper()
	socket = filepath.Join(shortDir(t), socketName)
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: answer}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		<-ended
	})
	return socket
}

// shortDir is a directory for sockets, whose addresses have at most 107 bytes.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lender-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// What is not an answer is an error in which there is nothing of it.
func TestWrongAnswers(t *testing.T) {
	const secret = "hunter2"
	body := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
	}
	for name, answer := range map[string]http.HandlerFunc{
		"empty":        body(""),
		"no JSON":      body(secret),
		"cut off":      body(`{"username": "u", "secret": "` + secret),
		"not strings":  body(`{"username": "u", "secret": {"` + secret + `": 1}}`),
		"more":         body(`{"username": "u", "secret": "` + secret + `"} ` + secret),
		"a list":       body(`["` + secret + `"]`),
		"large":        body(`{"username": "u", "secret": "` + strings.Repeat(secret, maxAnswer) + `"}`),
		"large header": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat(secret, maxAnswer)) },
		"redirection": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere?"+secret, http.StatusFound)
		},
		"an error": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, secret, http.StatusInternalServerError) },
		"nothing":  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			socket := lend(t, answer)
			for _, c := range []Challenge{basic, bearer} {
				l, err := askLender(t.Context(), socket, c)
				if err == nil || l != (Login{}) || strings.Contains(err.Error(), secret) {
					t.Errorf("%v, %v", l, err)
				}
			}
		})
	}
	if _, err := askLender(t.Context(), lend(t, nobody), basic); !errors.Is(err, errNobody) {
		t.Errorf("nobody: %v", err)
	}
}

// Labels can come from annotations of images, so that a path is not to be
// believed.
func TestWrongSockets(t *testing.T) {
	dir := shortDir(t)
	asked := func(w http.ResponseWriter, r *http.Request) { t.Error("it is asked"); giving("u", "p")(w, r) }
	at := func(dir, name string) string {
		dir = filepath.Join(shortDir(t), dir)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, name)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	good := lend(t, asked)
	here, err := os.Getwd()
	must(err)
	relative, err := filepath.Rel(here, good)
	must(err)
	file, link, other, dead := at("file", socketName), at("link", socketName), at("other", "docker.sock"), at("dead", socketName)
	must(os.WriteFile(file, nil, 0o600))
	must(os.Symlink(good, link))
	must(os.Link(good, other))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	must(err)
	l.SetUnlinkOnClose(false)
	must(l.Close())
	sockets := map[string]string{
		"relative": relative, "a file": file, "a link": link, "another name": other, "nobody listens": dead,
		"nothing": filepath.Join(dir, socketName), "empty": "", "a directory": "/", "long": "/" + strings.Repeat("a", 200) + "/" + socketName,
	}
	if os.Getuid() == 0 {
		foreign := lend(t, asked)
		must(os.Chown(foreign, stranger, -1))
		sockets["of a stranger"] = foreign
		sockets["a stranger listens"] = listenAsStranger(t)
	}
	for name, socket := range sockets {
		t.Run(name, func(t *testing.T) {
			if l, err := askLender(t.Context(), socket, basic); err == nil || l != (Login{}) {
				t.Errorf("%v, %v", l, err)
			} else {
				t.Log(err)
			}
		})
	}
}

const (
	stranger    = 12345
	strangerDir = "LADLE_TEST_STRANGER_DIR"
)

// listenAsStranger has another user listen on a socket, which is root's.
func listenAsStranger(t *testing.T) (socket string) {
	t.Helper()
	dir := shortDir(t)
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chown(dir, stranger, stranger)); err != nil {
		t.Fatal(err)
	}
	// Other users may not be let run this binary where it is.
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "test")
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, "-test.run=^TestStrangerListens$")
	cmd.Dir = dir
	cmd.Env = []string{strangerDir + "=" + dir}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() }) // it says that it was killed
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "listens\n" {
		t.Fatalf("%q, %v", line, err)
	}
	socket = filepath.Join(dir, socketName)
	if err := os.Chown(socket, 0, 0); err != nil {
		t.Fatal(err)
	}
	return socket
}

// TestStrangerListens is what listenAsStranger runs.
func TestStrangerListens(t *testing.T) {
	dir := os.Getenv(strangerDir)
	if dir == "" {
		return
	}
	l, err := net.Listen("unix", filepath.Join(dir, socketName))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("listens")
	t.Fatal(http.Serve(l, giving("u", "p")))
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"username": "u", "secret": "s"}`))
	f.Add([]byte(`{}`))
	f.Add(bytes.Repeat([]byte(" "), maxAnswer+1))
	f.Fuzz(func(t *testing.T, text []byte) {
		var answer struct{ Username, Secret string }
		var err error
		memtest.BoundSmall(t, min(len(text), maxAnswer), 32, func() { err = readAnswer(bytes.NewReader(text), &answer) })
		if err == nil && len(answer.Username)+len(answer.Secret) > 3*maxAnswer {
			t.Error("more than was read")
		}
	})
}
