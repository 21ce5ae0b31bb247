package install

import (
	"fmt"
	"path"
	"strings"
	"time"
)

// Options say what is installed, and where. Files and Daemon are required.
type Options struct {
	Root   string // of the host's files, "" is "/"; another one goes with no Services
	Prefix string // "" is /usr/local
	Files  Files
	Daemon Daemon
	Mode   *Mode  // nil: that of the installation of before, else CRI's default
	Flavor string // one of Flavors; "" or "auto" finds it out
	// Template allows to extend the template of a k3s or rke2 that imports no directory.
	Template bool
	// Services are those of the host; nil: only files are written.
	Services Services
	Timeout  time.Duration // of each wait; 0 is two minutes
	// Force undoes an installation that containers run on.
	Force bool
	// Step is called before each step, which it names; nil calls nothing.
	Step func(step string)
	// Say is called with what the user should know; nil drops it.
	Say func(text string)
}

// Files are what is installed.
type Files struct {
	Version string
	Program []byte
	Config  []byte // of the daemon, if there is none
	// ReplaceConfig makes Config the daemon's configuration also if there is another one.
	ReplaceConfig bool
	Unit          []byte // for a program in /usr/local
	DropIn        []byte // see DropIn.Render
}

// Daemon is what containerd has to know of the daemon.
type Daemon struct {
	Address string // socket of the main endpoint
	Root    string // directory of its state
	Config  string // path of its configuration
	// ImageService is the socket of its proxy of CRI's image service, "" if it has none.
	ImageService string
}

const (
	unitName = "ladle.service"
	unitPath = "/etc/systemd/system/" + unitName
	// packagedUnitPath is where a package of a distribution has its unit, which one at unitPath
	// hides.
	packagedUnitPath = "/usr/lib/systemd/system/" + unitName
	verifierName     = "ladle-verify-pull"
	verifierDir      = "/opt/containerd/image-verifier/bin" // containerd's default
	unitProgram      = "/usr/local/bin/ladle"
)

func (o *Options) setDefaults() {
	if o.Prefix == "" {
		o.Prefix = "/usr/local"
	}
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Minute
	}
	if o.Step == nil {
		o.Step = func(string) {}
	}
	if o.Say == nil {
		o.Say = func(string) {}
	}
}

func (o *Options) say(format string, args ...any) { o.Say(fmt.Sprintf(format, args...)) }

func (o *Options) program() string { return path.Join(o.Prefix, "bin/ladle") }

// unit is the systemd unit for the host: the service that runs containerd has another name
// with k3s and rke2.
func (o *Options) unit(containerd string) []byte {
	text := strings.ReplaceAll(string(o.Files.Unit), unitProgram, o.program())
	if containerd != "containerd.service" {
		text = strings.Replace(text, "\nBefore=containerd.service\n", "\nBefore="+containerd+"\n", 1)
		text = strings.Replace(text, "\nWantedBy=multi-user.target containerd.service\n", "\nWantedBy=multi-user.target "+containerd+"\n", 1)
	}
	return []byte(text)
}
