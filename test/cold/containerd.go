package cold

import (
	"fmt"
	"os/exec"

	"github.com/ladle-dev/ladle/test/stack"
)

// containerd inflates gzip by igzip, or else unpigz, where it finds them in PATH, unless
// one of these is set (containerd v2.4.2, pkg/archive/compression).
const (
	noIgzip  = "CONTAINERD_DISABLE_IGZIP=1"
	noUnpigz = "CONTAINERD_DISABLE_PIGZ=1"
)

// Default is containerd as it is once it is installed: it fetches a layer by one request,
// unpacks one layer after the other, and inflates itself.
var Default = stack.Containerd{Env: []string{noIgzip, noUnpigz}}

// Settings of containerd's transfer service, which ctr pulls through.
const (
	downloads = 8        // requests at the same time
	buffer    = 16 << 20 // bytes of a layer that a request is for
	unpacks   = 4        // layers at the same time
)

// Parallel is containerd that pulls for overlayfs as fast as it can: it fetches layers by
// several ranges side by side, and unpacks them side by side. inflate is the program that
// inflates gzip: igzip or unpigz, which must be installed.
func Parallel(inflate string) (stack.Containerd, error) {
	c := stack.Containerd{Edit: parallel}
	if inflate == "unpigz" {
		c.Env = []string{noIgzip}
	} else if inflate != "igzip" {
		return c, fmt.Errorf("cold: containerd does not inflate by %q", inflate)
	}
	if _, err := exec.LookPath(inflate); err != nil {
		return c, fmt.Errorf("cold: %w (run script/components.sh first)", err)
	}
	return c, nil
}

// parallel adds the settings to containerd's configuration. max_concurrent_downloads is
// the number of ranges, too: without concurrent_layer_fetch_buffer, which is how long they
// are, a layer is fetched by one request (containerd v2.4.2, core/remotes/docker). CRI
// pulls through the same service.
func parallel(config string) string {
	return config + fmt.Sprintf(`[plugins."io.containerd.transfer.v1.local"]
  max_concurrent_downloads = %d
  concurrent_layer_fetch_buffer = %d
  max_concurrent_unpacks = %d
`, downloads, buffer, unpacks)
}
