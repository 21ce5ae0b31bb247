package kubelet

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ladle-dev/ladle/test/image"
)

// password is that of all users of a registry, and passwordHash as htpasswd -nbB prints it.
const (
	password     = "speak-friend-4711"
	passwordHash = "$2a$04$OphWjwoYPB5AODKFeVv3i.n3mYNwC/PkDNr/OjEdW86fuj6mPZHza"
)

// provider is a credential provider of kubelet: a program that answers with a file.
type provider struct {
	*testing.T
	dir string
}

func (p provider) write(name string, mode os.FileMode, content string) {
	p.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(content), mode); err != nil {
		p.Fatal(err)
	}
}

// matching writes what kubelet is told of the provider: it is for images of a registry.
func (p provider) matching(registry string) {
	p.Helper()
	text, err := json.Marshal(object{
		"apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig",
		"providers": []object{{
			"name": "answers", "matchImages": []string{registry}, "defaultCacheDuration": "1s",
			"apiVersion": "credentialprovider.kubelet.k8s.io/v1",
		}},
	})
	if err != nil {
		p.Fatal(err)
	}
	p.write("providers.yaml", 0o644, string(text))
}

// answer is what the provider answers from now on, and whom the registry lets in.
func (p provider) answer(registry, user string) {
	p.Helper()
	text, err := json.Marshal(object{
		"apiVersion": "credentialprovider.kubelet.k8s.io/v1", "kind": "CredentialProviderResponse",
		"cacheKeyType": "Registry", "cacheDuration": "1s",
		"auth": object{registry: object{"username": user, "password": password}},
	})
	if err != nil {
		p.Fatal(err)
	}
	p.write("answer.json", 0o600, string(text))
	p.write("htpasswd", 0o600, user+":"+passwordHash+"\n")
}

// A pod has an image of a registry that wants credentials, which kubelet and ladle have from
// kubelet's credential provider. They expire while the pod runs, and what it never read
// before is read with others.
func TestPrivateImage(t *testing.T) {
	p := provider{t, t.TempDir()}
	p.write("answers", 0o755, "#!/bin/sh\nexec cat "+filepath.Join(p.dir, "answer.json")+"\n")
	p.matching("registry.example")
	file := filepath.Join(p.dir, "providers.yaml")
	l := newLab(t, onlyDemand+fmt.Sprintf("[credentials]\nkubelet_config = %q\nkubelet_bin_dir = %q\n", file, p.dir))
	p.answer("registry.example", "first")
	guarded, err := l.Registry.Guarded(t.Context(), fmt.Sprintf("  htpasswd:\n    realm: test\n    path: %s\n", filepath.Join(p.dir, "htpasswd")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := guarded.Close(); err != nil {
			t.Error(err)
		}
	})
	ref := strings.Replace(l.Push("debian-python", image.EStargz), l.Link.Addr(), guarded.Addr, 1)
	p.matching(guarded.Addr)
	p.answer(guarded.Addr, "first")
	l.signal(syscall.SIGHUP, "service: ready 2") // it reads the file when it starts
	l.k.Kill()
	l.k.Flags = []string{"--image-credential-provider-config", file, "--image-credential-provider-bin-dir", p.dir}
	l.startKubelet(nil)

	pod := l.apply(sleeper("private", ref))
	if out := l.exec(pod.Name, "python3", "-c", "print(6*7)"); out != "42\n" {
		t.Errorf("python3 prints %q", out)
	}
	p.answer(guarded.Addr, "second")
	if out := l.exec(pod.Name, "sha256sum", largeFile); !strings.HasPrefix(out, largeSum) {
		t.Errorf("the large file has the digest %s", out)
	}
	if after := l.running(pod.Name); after.Containers[0].RestartCount != 0 {
		t.Errorf("the container is now %+v", after.Containers[0])
	}
}
