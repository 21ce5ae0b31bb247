package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ladle-dev/ladle/test/command"
	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/place"
	"github.com/ladle-dev/ladle/test/process"
	"github.com/ladle-dev/ladle/test/report"
	"github.com/ladle-dev/ladle/test/stack"
)

// wanted is how many specs pass with overlayfs at least. With fewer, the machine is not
// fit for a comparison.
const wanted = 100

func main() { command.Main(run) }

func run(ctx context.Context) (err error) {
	releases := flag.String("containerd", "newest,"+stack.LongTerm, "releases of containerd")
	focus := flag.String("focus", "", "a regular expression: only these specs")
	logs := flag.String("logs", filepath.Join(os.TempDir(), "critest"), "directory for reports and logs")
	flag.Parse()
	work, err := os.MkdirTemp("", "ladle-critest-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	c := comparison{work: work, logs: *logs, focus: *focus, table: &report.Table{}}
	c.table.Row("", "passed", "failed", "skipped")
	var errs []error
	for release := range strings.SplitSeq(*releases, ",") {
		if release == "newest" {
			release = ""
		}
		errs = append(errs, c.release(ctx, release))
	}
	c.table.Print(os.Stdout)
	return errors.Join(errs...)
}

// comparison runs critest in several set-ups.
type comparison struct {
	work, logs string // directories
	focus      string
	table      *report.Table
}

// release compares ladle with overlayfs on one release of containerd.
func (c comparison) release(ctx context.Context, release string) error {
	oracle, err := c.run(ctx, setup{release, "overlayfs", image.Gzip})
	if err != nil {
		return err
	}
	var errs []error
	if n := oracle.count(passed); n < wanted && c.focus == "" {
		errs = append(errs, fmt.Errorf("only %d specs pass with overlayfs", n))
	}
	for _, format := range []image.Format{image.EStargz, image.Gzip} {
		s := setup{release, "ladle", format}
		got, err := c.run(ctx, s)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, spec := range got.worse(oracle) {
			errs = append(errs, fmt.Errorf("%s: %s; it passes with overlayfs", s, spec))
		}
	}
	return errors.Join(errs...)
}

// run runs critest in one set-up.
func (c comparison) run(ctx context.Context, s setup) (_ specs, err error) {
	fmt.Fprintln(os.Stderr, s)
	r, err := stack.StartRegistry(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	digest, err := push(ctx, r, &image.Cache{Dir: filepath.Join(c.work, "images")}, s.format)
	if err != nil {
		return nil, err
	}
	program, err := c.program(digest)
	if err != nil {
		return nil, err
	}
	n, err := startNode(ctx, s, r, c.nri())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	dir := filepath.Join(c.logs, strings.NewReplacer(" ", "-", ",", "").Replace(s.String()))
	got, err := c.critest(ctx, program, n.Address, dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", s, err, n.Logs())
	}
	if err := os.WriteFile(filepath.Join(dir, "node.log"), []byte(n.Logs()), 0o644); err != nil {
		return nil, err
	}
	skipped := len(got) - got.count(passed) - got.count(failed)
	c.table.Row(s.String(), strconv.Itoa(got.count(passed)), strconv.Itoa(got.count(failed)), strconv.Itoa(skipped))
	return got, nil
}

// racy is a spec that passes or is skipped by chance: it looks for a race of containerd that
// its authors know, and skips when it finds it.
const racy = "without the race condition during initialization"

func (c comparison) nri() string { return filepath.Join(c.work, "nri.sock") }

// digestInCritest is the digest by which one spec pulls, as it is in critest's program.
const digestInCritest = "9700f9a2f5bf2c45f2f605a0bd3bce7cf37420ec9d3ed50ac2758413308766bf"

// program is a copy of critest that pulls the image of this digest in the place of
// digestInCritest, of which there can be no stand-in.
func (c comparison) program(digest v1.Hash) (path string, err error) {
	original, err := place.Component("critest")
	if err != nil {
		return "", err
	}
	code, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	if !bytes.Contains(code, []byte(digestInCritest)) {
		return "", errors.New("critest: this release pulls an image of another digest")
	}
	path = filepath.Join(c.work, "critest-"+digest.Hex[:8])
	return path, os.WriteFile(path, bytes.ReplaceAll(code, []byte(digestInCritest), []byte(digest.Hex)), 0o755)
}

// critest runs the program on a containerd, with its report and output in dir. That specs
// fail is no error.
func (c comparison) critest(ctx context.Context, program, address, dir string) (specs, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "critest.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	report := filepath.Join(dir, "report.xml")
	if err := os.RemoveAll(report); err != nil {
		return nil, err
	}
	args := []string{"--runtime-endpoint", "unix://" + address, "--nri-socket", c.nri(), "--ginkgo.junit-report", report, "--ginkgo.no-color", "--ginkgo.seed", "1",
		"--ginkgo.skip", racy}
	if c.focus != "" {
		args = append(args, "--ginkgo.focus", c.focus)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, process.Environment()
	ran := cmd.Run()
	got, err := readSpecs(report)
	if err != nil {
		return nil, errors.Join(err, ran, fmt.Errorf("see %s", log.Name()))
	}
	if ran != nil && got.count(failed) == 0 {
		return nil, fmt.Errorf("critest ended with %w, see %s", ran, log.Name())
	}
	return got, nil
}
