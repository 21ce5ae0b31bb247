package stack

import (
	"fmt"
	"regexp"
	"strings"
)

// snapshotPlugin is a snapshotter in containerd's configuration as the node writes it.
var snapshotPlugin = regexp.MustCompile(`\[proxy_plugins\."(.+)"\]\n  type = "snapshot"\n  address = (".+")\n`)

// DifferConfig is what a daemon needs in its configuration to serve diffs. The node puts its
// containerd's socket in the place of CONTAINERD.
const DifferConfig = "[differ]\ncontainerd_address = \"CONTAINERD\"\n"

// WithDiffers edits containerd's configuration: it asks the differs of all daemons first, and
// its own for what they leave to it.
func WithDiffers(config string) string {
	var plugins strings.Builder
	var names []string
	for _, match := range snapshotPlugin.FindAllStringSubmatch(config, -1) {
		name := match[1] + "-diff"
		names = append(names, fmt.Sprintf("%q", name))
		fmt.Fprintf(&plugins, "[proxy_plugins.%q]\n  type = \"diff\"\n  address = %s\n", name, match[2])
	}
	return config + plugins.String() + fmt.Sprintf("[plugins.\"io.containerd.service.v1.diff-service\"]\n  default = [%s, \"walking\"]\n",
		strings.Join(names, ", "))
}
