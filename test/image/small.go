package image

import (
	"archive/tar"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

var busyboxConfig = v1.Config{Env: []string{"PATH=/bin"}, Cmd: []string{"/bin/sh"}}

// busybox is one layer of a megabyte with a shell and the usual programs.
var busybox = Recipe{
	Name: "busybox", About: "one static program with a shell, 1 MB", Version: 1, Config: busyboxConfig, Prioritized: []string{"bin/busybox", "etc/passwd"},
	Layers: func(Env) ([]Layer, error) { return layersWithBusybox() },
}

// shell has the programs of busybox as symbolic links, as distributions do, and
// shares no layer with it.
var shell = Recipe{
	Name: "shell", About: "the same program in another tree, with symbolic links to it", Version: 1, Config: busyboxConfig,
	Layers: func(Env) ([]Layer, error) {
		lowest, err := busyboxLayer(func(applet string, _ tar.Header) tar.Header {
			return symlink("bin/"+applet, "/bin/busybox")
		}, dir("home", 0o755), dir("mnt", 0o755), dir("usr", 0o755), dir("usr/bin", 0o755), dir("var", 0o755), symlink("var/run", "../run"))
		return []Layer{lowest}, err
	},
}

// pause is what a pod's sandbox runs: a process that waits to be killed.
var pause = Recipe{
	Name: "pause", About: "the process of a pod's sandbox", Version: 1,
	Config: v1.Config{Env: []string{"PATH=/bin"}, Entrypoint: []string{"/bin/busybox", "sleep", "2147483647"}},
	Layers: func(Env) ([]Layer, error) { return layersWithBusybox() },
}

// twice has layers more than once, side by side and with others between, an empty
// one among them.
var twice = Recipe{
	Name: "twice", About: "layers that are there twice", Version: 1, Config: busyboxConfig,
	Layers: func(Env) ([]Layer, error) {
		text := map[string]string{"f": "of a\n", "d/a": "of a\n", "only-a": "of a\n"}
		a := entries(text, dir("d", 0o755), reg("d/a", 0o644, 0), reg("f", 0o644, 0), reg("only-a", 0o644, 0),
			hardlink("d/same", reg("only-a", 0o644, 0)), whiteout("only-b"), whiteout("d/b"))
		text = map[string]string{"f": "of b, longer\n", "d/b": "of b\n", "only-b": "of b\n"}
		b := entries(text, dir("d", 0o700), opaque("d"), reg("d/b", 0o644, 0), reg("f", 0o600, 0), reg("only-b", 0o644, 0), whiteout("only-a"))
		none := entries(nil)
		return layersWithBusybox(b, a, a, none, b, a, none)
	},
}

// layersWithBusybox puts a layer with busybox below the given ones, so that a
// shell runs in the image.
func layersWithBusybox(above ...Layer) ([]Layer, error) {
	lowest, err := busyboxLayer(func(applet string, program tar.Header) tar.Header {
		return hardlink("bin/"+applet, program)
	})
	return append([]Layer{lowest}, above...), err
}

// busyboxLayer is a root filesystem with busybox, a link to it for each applet,
// and more entries after them.
func busyboxLayer(link func(applet string, program tar.Header) tar.Header, more ...tar.Header) (Layer, error) {
	path, err := staticBusybox()
	if err != nil {
		return nil, err
	}
	applets, err := exec.Command(path, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("image: %s --list: %w", path, err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	return func(w *tar.Writer) error {
		text := map[string]string{
			"bin/busybox": string(data),
			"etc/passwd":  "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
			"etc/group":   "root:x:0:\nnogroup:x:65534:\n",
		}
		program := reg("bin/busybox", 0o755, 0)
		headers := []tar.Header{
			dir("bin", 0o755), program,
			dir("dev", 0o755), dir("etc", 0o755), reg("etc/passwd", 0o644, 0), reg("etc/group", 0o644, 0),
			dir("proc", 0o555), dir("root", 0o700), dir("sys", 0o555), dir("tmp", 0o1777),
		}
		for _, applet := range strings.Fields(string(applets)) {
			if applet != "busybox" {
				headers = append(headers, link(applet, program))
			}
		}
		return entries(text, append(headers, more...)...)(w)
	}, nil
}

// staticBusybox finds a busybox that needs no libraries.
func staticBusybox() (string, error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return "", fmt.Errorf("image: %w (script/components.sh installs busybox-static)", err)
	}
	f, err := elf.Open(path)
	if err != nil {
		return "", fmt.Errorf("image: %w", err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return "", fmt.Errorf("image: %s is not static (install busybox-static)", path)
		}
	}
	return path, nil
}
