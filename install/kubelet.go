package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// kubeletConfig is where kubeadm and others have kubelet's configuration.
const kubeletConfig = "/var/lib/kubelet/config.yaml"

// Kubelet says what of kubelet's configuration an installation leaves to the user.
func (d Daemon) Kubelet() string {
	endpoint := "set [cri] address in /etc/ladle/config.toml, restart ladle, and set\n" +
		"    imageServiceEndpoint in kubelet's configuration to that socket (docs/cri.md)."
	if d.ImageService != "" {
		endpoint = "set in kubelet's configuration (docs/cri.md)\n    imageServiceEndpoint: unix://" + d.ImageService
	}
	return `kubelet needs no change for images that everybody can read. For private ones ladle needs
credentials, which containerd does not pass on (docs/credentials.md):
  - of credential providers: set [credentials] kubelet_config and kubelet_bin_dir in
    /etc/ladle/config.toml to kubelet's --image-credential-provider-config and -bin-dir.
  - of image pull secrets: ` + endpoint + `
Images that are on this node were unpacked for another snapshotter: docs/install.md, "A node
that has images already".
`
}

// pullsThroughLadle reports whether kubelet's configuration names ladle's image service.
func (o *Options) pullsThroughLadle() (bool, error) {
	if o.Daemon.ImageService == "" {
		return false, nil
	}
	text, err := os.ReadFile(filepath.Join(o.Root, kubeletConfig))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return strings.Contains(string(text), o.Daemon.ImageService), err
}

// spareKubelet returns an error if kubelet could pull no image any more without ladle.
func (r *run) spareKubelet() error {
	through, err := r.opts.pullsThroughLadle()
	if err != nil || !through || r.opts.Force {
		return err
	}
	return fmt.Errorf("kubelet pulls images through ladle: remove imageServiceEndpoint from %s and restart kubelet first, or use --force", kubeletConfig)
}

// kubelet checks that kubelet uses the image service that ladle has.
func (c *checker) kubelet() {
	if c.opts.Daemon.ImageService == "" || !exists(filepath.Join(c.opts.Root, kubeletConfig)) {
		return
	}
	through, err := c.opts.pullsThroughLadle()
	if err != nil {
		c.add("kubelet", Warning, err.Error(), "")
		return
	}
	c.verdict(through, "kubelet pulls through "+c.opts.Daemon.ImageService, Finding{"kubelet", Warning,
		"kubelet does not pull through " + c.opts.Daemon.ImageService + ", so ladle gets no credentials of its pulls",
		"imageServiceEndpoint: unix://" + c.opts.Daemon.ImageService + " in " + kubeletConfig})
}
