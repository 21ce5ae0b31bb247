package image

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

var debianConfig = v1.Config{
	Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	Cmd: []string{"/bin/sh"},
}

var pythonFiles = []string{
	"usr/bin/dash", "usr/bin/python3*", "usr/lib/*/ld-linux-*", "usr/lib/*/libc.so.*", "usr/lib/*/libm.so.*",
	"usr/lib/*/libz.so.*", "usr/lib/*/libexpat.so.*", "etc/ld.so.cache",
	"usr/lib/python3*/encodings/__pycache__/*", "usr/lib/python3*/__pycache__/os.*",
	"usr/lib/python3*/__pycache__/site.*", "usr/lib/python3*/__pycache__/codecs.*",
}

// debianPython is a minimal root filesystem of the machine's own distribution,
// python3 on top, and a layer of edits on top of that.
var debianPython = Recipe{
	Name:        "debian-python",
	About:       "a minimal root filesystem, python3, and a layer of edits",
	Version:     1,
	Config:      debianConfig,
	Prioritized: pythonFiles,
	Layers: func(env Env) ([]Layer, error) {
		trees, err := debianTrees(env, nil, []string{"ca-certificates", "python3"})
		if err != nil {
			return nil, err
		}
		edited, err := edits(trees[1])
		if err != nil {
			return nil, err
		}
		return []Layer{trees[0].difference(nil), trees[1].difference(trees[0]), edited}, nil
	},
}

// debianScipy is the image of the cold-start benchmark: two layers, about 1 GB.
var debianScipy = Recipe{
	Name:        "debian-scipy",
	About:       "the same with python3 in one layer and numpy and scipy in another (1 GB)",
	Version:     1,
	Config:      debianConfig,
	Prioritized: pythonFiles,
	Layers: func(env Env) ([]Layer, error) {
		trees, err := debianTrees(env, []string{"ca-certificates", "python3"}, []string{"python3-numpy", "python3-scipy"})
		if err != nil {
			return nil, err
		}
		return []Layer{trees[0].difference(nil), trees[1].difference(trees[0])}, nil
	},
}

// debianTrees makes one root filesystem by mmdebstrap and returns what it held
// after each stage: stage i adds packages[i] to what was there. An empty list
// adds nothing, so that the minimal system itself is a tree.
func debianTrees(env Env, packages ...[]string) ([]*tree, error) {
	codename, components, err := distribution()
	if err != nil {
		return nil, err
	}
	args := []string{"--mode=root", "--variant=minbase", "--format=null", "--skip=cleanup/apt", "--components=" + components}
	files := make([]string, len(packages))
	for i, names := range packages {
		if len(names) > 0 {
			args = append(args, "--customize-hook="+installHook(names))
		}
		files[i] = filepath.Join(env.Dir, fmt.Sprintf("stage-%d.tar", i))
		args = append(args, "--customize-hook="+saveHook(files[i]))
	}
	args = append(args, codename, "-")
	env.Log("%s: making a %s root filesystem, about a minute", env.Name, codename)
	if err := env.run("mmdebstrap", args...); err != nil {
		return nil, err
	}
	var trees []*tree
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		env.onClose(f)
		t, err := readTree(f)
		if err != nil {
			return nil, err
		}
		trees = append(trees, t)
	}
	return trees, nil
}

// installHook is shell for mmdebstrap, which passes the root directory as $1.
func installHook(packages []string) string {
	return `env -u APT_CONFIG DEBIAN_FRONTEND=noninteractive chroot "$1" apt-get install --yes --no-install-recommends ` +
		strings.Join(packages, " ")
}

// saveHook saves the root directory without what belongs to the build: mounts,
// package lists and archives, and the host's network settings. tar's exit code
// 1 says that a file changed while it was read (that is /sys).
func saveHook(file string) string {
	excludes := ""
	for _, e := range []string{"dev/*", "proc/*", "sys/*", "run/*", "tmp/*", "var/lib/apt/lists/*", "var/cache/apt/*",
		"var/log/*", "etc/resolv.conf", "etc/hostname"} {
		excludes += " --exclude='./" + e + "'"
	}
	return `tar --create --one-file-system --format=pax --xattrs --xattrs-include='*' --numeric-owner --sort=name ` +
		`--warning=no-file-changed` + excludes + ` --directory="$1" --file='` + file + `' . || [ $? = 1 ]`
}

// distribution is the code name of the distribution that this machine runs, and
// its archive components that hold the packages.
func distribution() (codename, components string, err error) {
	data, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", "", fmt.Errorf("image: %w", err)
	}
	values := map[string]string{}
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), "="); ok {
			values[k] = strings.Trim(v, `"`)
		}
	}
	codename = values["VERSION_CODENAME"]
	if codename == "" {
		return "", "", fmt.Errorf("image: /etc/os-release names no VERSION_CODENAME")
	}
	if values["ID"] == "ubuntu" {
		return codename, "main,universe", nil
	}
	return codename, "main", nil
}

// run runs a program, and shows the end of its output if it fails.
func (e Env) run(name string, args ...string) error {
	out, err := exec.CommandContext(e.Context, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("image: %s: %w\n%s", name, err, out[max(0, len(out)-4000):])
	}
	return nil
}
