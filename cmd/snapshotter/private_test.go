package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/control"
	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/internal/waittest"
)

// credentialProvider is a program like kubelet's credential providers, which has the password
// that a test gives it for a host, and its configuration.
type credentialProvider struct {
	t   *testing.T
	dir string
}

func newCredentialProvider(t *testing.T, host string) *credentialProvider {
	t.Helper()
	p := &credentialProvider{t, t.TempDir()}
	p.write("provider", "#!/bin/sh\ncat >/dev/null\necho >>\"$0.runs\"\ncat \"$0.answer\"\n")
	p.write("config.yaml", fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
- {name: provider, apiVersion: credentialprovider.kubelet.k8s.io/v1, matchImages: [%q], defaultCacheDuration: 1s}
`, host))
	p.set(host, "")
	return p
}

func (p *credentialProvider) write(name, text string) {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o700); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		p.t.Fatal(err)
	}
}

// set makes the provider answer with a password for a host; with none if that is empty.
func (p *credentialProvider) set(host, password string) {
	p.t.Helper()
	auth := "{}"
	if password != "" {
		auth = fmt.Sprintf(`{%q: {"username": "u", "password": %q}}`, host, password)
	}
	p.write("provider.answer", `{"apiVersion": "credentialprovider.kubelet.k8s.io/v1", "kind": "CredentialProviderResponse",
		"cacheKeyType": "Registry", "auth": `+auth+`}`)
}

func (p *credentialProvider) runs() int {
	text, err := os.ReadFile(filepath.Join(p.dir, "provider.runs"))
	if err != nil && !os.IsNotExist(err) {
		p.t.Fatal(err)
	}
	return len(text)
}

// explained asks a daemon to explain an image.
func (d *process) explained(ref string) control.Explanation {
	d.t.Helper()
	socket := strings.TrimSuffix(d.address, ".sock") + "-control.sock"
	out, err := ladle("explain", "--json", "--control", socket, ref).Output()
	if err != nil {
		d.t.Fatalf("ladle explain: %v: %s", err, stderrOf(err))
	}
	var e control.Explanation
	if err := json.Unmarshal(out, &e); err != nil {
		d.t.Fatalf("%v in %s", err, out)
	}
	text, err := ladle("explain", "--control", socket, ref).Output()
	if err != nil || !strings.Contains(string(text), "kubelet") {
		d.t.Errorf("ladle explain: %v: %s", err, text)
	}
	d.output.Write(text) //nolint:errcheck // into memory, where secrets are looked for
	return e
}

// wantLayer fails the test unless the image has one layer in this state, and says so of its
// sources.
func wantLayer(t *testing.T, e control.Explanation, state, sources string) {
	t.Helper()
	var got []string
	for _, h := range e.Hosts {
		for _, a := range h.Answers {
			got = append(got, a.Source+" "+a.Result)
		}
	}
	if len(e.Layers) == 1 && e.Layers[0].State == control.LayerFull && state == control.LayerReadable {
		return // so readable that the rest was fetched, too
	}
	if len(e.Layers) != 1 || e.Layers[0].State != state || strings.Join(got, ", ") != sources {
		t.Errorf("%+v, want %s and %s", e, state, sources)
	}
	if denied := state != control.LayerReadable; len(e.Layers) == 1 && (e.Layers[0].Credentials != denied || (e.Layers[0].Reason != "") != denied) {
		t.Errorf("%+v", e.Layers)
	}
}

// A layer of a private image is read with the credentials that a provider has, over many ends
// of a token's and an answer's life, without a failed read. Without credentials it is not lazy,
// or cannot be read, and `ladle explain` says why; with new ones it is readable again, on the
// same mount. No secret is logged, or on the disk.
func TestPrivateImage(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long, and is left out by -short")
	}
	for name, opts := range map[string]registrytest.Options{
		"token": {Token: true, TokenTTL: 1, User: "u", Password: "hunter2-first"},
		"basic": {Basic: true, User: "u", Password: "hunter2-first"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newImageAt(t, opts)
			provider := newCredentialProvider(t, i.Host())
			d := startDaemon(t, daemonOptions{config: onlyDemand + fmt.Sprintf(`driver = "fuse"
read_timeout_sec = 6
[credentials]
kubelet_config = %q
kubelet_bin_dir = %q
docker_config = %q
`, filepath.Join(provider.dir, "config.yaml"), provider.dir, t.TempDir())})
			client := connect(t, d.address)
			if _, err := client.Prepare(t.Context(), "unpacked", "", snapshots.WithLabels(i.labels)); err != nil {
				t.Fatalf("a layer that may not be read: %v", err)
			}
			wantLayer(t, d.explained(i.Ref("app:1")), control.LayerNotLazy, "lent none, kubelet none, docker none")

			provider.set(i.Host(), "hunter2-first")
			n := 0
			waittest.For(t, "the pull to be lazy", func() bool {
				n++
				_, err := client.Prepare(t.Context(), fmt.Sprint("extract", n), "", snapshots.WithLabels(i.labels))
				return errdefs.IsAlreadyExists(err)
			})
			mounts, err := client.View(t.Context(), "view", "layer")
			if err != nil {
				t.Fatal(err)
			}
			r := startReader(t, filepath.Join(mounts[0].Source, "large"))
			i.Reset()
			before, began := provider.runs(), time.Now()
			// Backwards, and far enough from each other that nothing is fetched ahead.
			const piece, pieces = 320 << 10, 25
			for p := int64(pieces - 1); p > 0; p-- {
				if p == pieces/2 { // the password changes, as that of a cloud's registry does
					provider.set(i.Host(), "hunter2-second")
					i.SetLogin("u", "hunter2-second")
				}
				r.begin(fmt.Sprintf("read %d 1000", p*piece))
				r.wants(i.want(p*piece, 1000))
				time.Sleep(150 * time.Millisecond) // the life of tokens is real time
			}
			if n := i.Count(registrytest.Blob); n < pieces-1 {
				t.Errorf("%d requests for %d reads", n, pieces-1)
			}
			lives := int(time.Since(began)/(800*time.Millisecond)) + 3
			if n := provider.runs() - before; n < 3 || n > lives {
				t.Errorf("the provider was run %d times in %d lives of its answer", n, lives)
			}
			if n := i.Count(registrytest.Token); opts.Token && (n < 3 || n > lives+2) {
				t.Errorf("%d tokens were fetched in %d of their lives", n, lives)
			}

			provider.set("", "")
			i.SetLogin("u", "hunter2-third")
			i.Expire()
			r.begin("read 0 1000")
			r.fails()
			e := d.explained(i.Ref("app:1"))
			wantLayer(t, e, control.LayerUnreadable, "lent none, kubelet none, docker none")
			if !strings.Contains(e.Layers[0].Reason, "credentials: lent: none, kubelet: none, docker: none") {
				t.Errorf("the reason is %s", e.Layers[0].Reason)
			}
			provider.set(i.Host(), "hunter2-third")
			waittest.For(t, "the layer to be readable", func() bool {
				r.begin("read 0 1000")
				return r.answer() == i.want(0, 1000)
			})
			wantLayer(t, d.explained(i.Ref("app:1")), control.LayerReadable, "lent none, kubelet found, docker none")
			if log := d.output.String(); !strings.Contains(log, "credentials: lent: none, kubelet: none, docker: none") {
				t.Error("the log does not say which sources were asked")
			}
			r.begin("open /dev/null")
			r.answer()
			if err := client.Remove(t.Context(), "view"); err != nil {
				t.Fatal(err)
			}
			d.stop(t.Context())
			wantNoSecret(t, d)
		})
	}
}

// wantNoSecret looks for a password, in the clear or as it is sent, in what a daemon has
// printed and written.
func wantNoSecret(t *testing.T, d *process) {
	t.Helper()
	secrets := []string{"hunter2"}
	for _, password := range []string{"first", "second", "third"} {
		secrets = append(secrets, base64.StdEncoding.EncodeToString([]byte("u:hunter2-"+password)))
	}
	look := func(where, text string) {
		for _, s := range secrets {
			if strings.Contains(text, s) {
				t.Errorf("%s has a secret", where)
			}
		}
	}
	look("the log", d.output.String())
	files := 0
	err := filepath.WalkDir(d.root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		files++
		return eachData(path, func(text string) { look(path, text) })
	})
	if err != nil || files == 0 {
		t.Errorf("%d files, %v", files, err)
	}
}

// eachData calls use with each part of a file that is no hole.
func eachData(path string, use func(string)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for end := int64(0); ; {
		begin, err := f.Seek(end, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // there is only a hole
		}
		if err == nil {
			end, err = f.Seek(begin, unix.SEEK_HOLE)
		}
		if err != nil {
			return err
		}
		part := make([]byte, end-begin)
		if _, err := f.ReadAt(part, begin); err != nil {
			return err
		}
		use(string(part))
	}
}
