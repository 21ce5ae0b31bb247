package install

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
)

// Results of a check.
const (
	OK      = "ok"
	Warning = "warning" // ladle works, but not as well as it could
	Failed  = "failed"
)

// Finding is what one check has found.
type Finding struct {
	Name   string `json:"name"` // one of a fixed set
	Result string `json:"result"`
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`
}

// Report is what Check has found.
type Report struct {
	Schema   int       `json:"schema"` // 1
	OK       bool      `json:"ok"`     // no finding is Failed
	Version  string    `json:"version"`
	Platform string    `json:"platform"`
	Flavor   string    `json:"flavor"`
	Mode     string    `json:"mode,omitempty"` // "" if ladle is not installed
	Findings []Finding `json:"findings"`
}

// Probes find out what this package cannot.
type Probes struct {
	// Driver is the one that the daemon has or would choose, with the reason.
	Driver func(ctx context.Context) (name, reason string, err error)
	// Running is the version of the daemon that runs.
	Running func(ctx context.Context) (version string, err error)
}

// checker collects findings.
type checker struct {
	opts      Options
	probes    Probes
	installed bool
	report    Report
}

func (c *checker) add(name, result, text, remedy string) {
	c.report.Findings = append(c.report.Findings, Finding{name, result, text, remedy})
}

// verdict adds bad, or if ok that all is well.
func (c *checker) verdict(ok bool, good string, bad Finding) {
	if ok {
		bad = Finding{bad.Name, OK, good, ""}
	}
	c.report.Findings = append(c.report.Findings, bad)
}

// Check looks at the host and changes nothing. It returns an error only if nothing could be
// found out.
func Check(ctx context.Context, o Options, p Probes) (Report, error) {
	o.setDefaults()
	f, err := flavorOf(o.Root, o.Flavor)
	if err != nil {
		return Report{}, err
	}
	st, err := readState(filepath.Join(o.Root, StateDir))
	if err != nil {
		return Report{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	c := &checker{opts: o, probes: p, installed: st.Installed != nil, report: Report{
		Schema: 1, Version: o.Files.Version, Platform: runtime.GOOS + "/" + runtime.GOARCH, Flavor: f.name,
	}}
	if c.installed {
		c.report.Mode = st.Installed.Mode.String()
	}
	live := o.Services != nil
	if live {
		c.kernel(ctx)
	}
	c.files(ctx, f, st)
	c.kubelet()
	if live {
		c.daemon(ctx)
	}
	c.report.OK = true
	for _, f := range c.report.Findings {
		c.report.OK = c.report.OK && f.Result != Failed
	}
	return c.report, nil
}

// files checks what is installed, and containerd's configuration.
func (c *checker) files(ctx context.Context, f flavor, st state) {
	if st.Pending != nil {
		c.add("run", Failed, "a run of ladle install was interrupted", "ladle install completes it, ladle install --undo takes it back")
	}
	host, err := look(ctx, c.opts.Root, f, c.opts.Services != nil)
	if err != nil {
		c.add("containerd", Failed, err.Error(), "")
		return
	}
	c.containerd(ctx, host)
	r := &run{opts: c.opts, j: &journal{state: st}, c: host}
	p, err := r.planInstall()
	if err != nil {
		c.add("files", Failed, err.Error(), "")
		return
	}
	var differ []string
	for _, ch := range append(p.daemon, p.containerd...) {
		differ = append(differ, ch.Path)
	}
	switch {
	case !c.installed:
		c.add("files", Warning, "ladle is not installed by ladle install", "ladle install")
	case len(differ) > 0:
		c.add("files", Failed, "not as this version of ladle installs them: "+strings.Join(differ, ", "), "ladle install")
	default:
		c.add("files", OK, "all files are as this version of ladle installs them", "")
	}
	if c.opts.Services != nil && c.installed {
		c.reach(ctx, host)
	}
}

// reach checks that containerd has ladle.
func (c *checker) reach(ctx context.Context, host *containerd) {
	err := Reaches(ctx, host.socket())
	if err == nil {
		c.add("reach", OK, "containerd reaches ladle", "")
		return
	}
	c.add("reach", Failed, err.Error(), "systemctl restart ladle "+host.unit)
}

// daemon checks the process that runs.
func (c *checker) daemon(ctx context.Context) {
	result := Failed
	if !c.installed {
		result = Warning
	}
	if err := Answers(ctx, c.opts.Daemon.Address); err != nil {
		c.add("daemon", result, err.Error(), "systemctl status ladle")
		return
	}
	c.add("daemon", OK, "it answers on "+c.opts.Daemon.Address, "")
	version, err := c.probes.Running(ctx)
	if err != nil {
		c.add("version", Warning, fmt.Sprintf("the version of the daemon is not known: %v", err), "")
		return
	}
	c.verdict(version == c.opts.Files.Version, "the daemon is "+version, Finding{"version", Warning,
		fmt.Sprintf("the daemon is %s, this program %s", version, c.opts.Files.Version), "systemctl restart ladle; containers go on"})
}
