package install

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// oldest are the oldest patch releases of containerd without known vulnerabilities
// (docs/install.md).
var oldest = map[[2]int]int{{2, 3}: 7, {2, 4}: 2}

// containerd checks its version and its settings.
func (c *checker) containerd(ctx context.Context, host *containerd) {
	if host.program != "" {
		c.release(host)
		c.runc(ctx, host)
	}
	t := host.dumped
	images := t.images()
	if local := t.localPulls(); len(local) > 0 {
		c.verdict(images.at("disable_snapshot_annotations") == false, "CRI says of which image a layer is", Finding{
			"annotations", c.unlessInstalled(), "CRI pulls without saying of which image a layer is, because of " + strings.Join(local, ", "),
			"ladle install sets disable_snapshot_annotations = false"})
	} else {
		c.add("annotations", OK, "CRI pulls by the transfer service", "")
	}
	if images.at("discard_unpacked_layers") == true {
		c.add("discard", Warning, "discard_unpacked_layers: images of before have to be pulled again for ladle, and ladle's after an undo", "")
	}
	if !c.installed {
		return
	}
	listed := slices.ContainsFunc(t.list("plugins", transfer, "unpack_config"), func(e any) bool {
		m, ok := e.(map[string]any)
		return ok && m["snapshotter"] == Name
	})
	if host.program != "" {
		c.verdict(listed, "the transfer service unpacks for ladle", Finding{"unpack", Failed,
			"the transfer service does not unpack for ladle: another file sets unpack_config", "add ladle to that list"})
	}
}

// unlessInstalled is the result of a check of what an installation sets.
func (c *checker) unlessInstalled() string {
	if c.installed {
		return Failed
	}
	return OK
}

func (c *checker) release(host *containerd) {
	least, ok := oldest[host.release]
	newer := host.release[0] > 2 || host.release[1] > 4
	text := "containerd " + host.version
	switch {
	case newer || ok && host.patch >= least:
		c.add("containerd", OK, text, "")
	case ok:
		c.add("containerd", Warning, fmt.Sprintf("%s has vulnerabilities that %d.%d.%d has not", text, host.release[0], host.release[1], least), "upgrade containerd")
	default:
		c.add("containerd", Warning, text+" is not supported any more", "upgrade containerd to 2.3 or newer")
	}
}

// runc checks whether pods can have user namespaces (runc 1.2 and newer).
func (c *checker) runc(ctx context.Context, host *containerd) {
	program := host.dumped.runtime().text("runtimes", host.defaultRuntime(), "options", "BinaryName")
	if program == "" {
		program = "runc"
	}
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	m := releaseText.FindStringSubmatch(string(out))
	switch {
	case err != nil || m == nil:
		c.add("runc", Warning, fmt.Sprintf("%s --version: %v", program, err), "")
	case m[1] == "1" && (m[2] == "0" || m[2] == "1"):
		c.add("runc", Warning, fmt.Sprintf("%s %s: no pods with user namespaces (hostUsers: false)", program, m[0]), "upgrade runc to 1.3.6, 1.4.3 or newer")
	default:
		c.add("runc", OK, program+" "+m[0], "")
	}
}
