package warm

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// tracing counts the requests that the kernel sends to FUSE, whoever serves
// it, by the tracepoint fuse_request_send (Linux 6.11). It has a trace buffer
// of its own, so that other users of tracing are not disturbed.
type tracing struct {
	tracefs  string // mounted by us
	instance string
}

// traceBuffer is KiB for each CPU: enough for some 400,000 requests.
const traceBuffer = 32 << 10

func newTracing() (_ *tracing, err error) {
	t := &tracing{}
	if t.tracefs, err = os.MkdirTemp("", "ladle-tracefs-"); err != nil {
		return nil, fmt.Errorf("warm: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("warm: tracing: %w", errors.Join(err, t.close()))
		}
	}()
	if err := unix.Mount("tracefs", t.tracefs, "tracefs", 0, ""); err != nil {
		return nil, err
	}
	t.instance = filepath.Join(t.tracefs, "instances", "ladle-"+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(t.instance, 0o700); err != nil {
		return nil, err
	}
	if err := t.set("buffer_size_kb", strconv.Itoa(traceBuffer)); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *tracing) set(name, value string) error {
	return os.WriteFile(filepath.Join(t.instance, name), []byte(value), 0)
}

const sendEvent = "events/fuse/fuse_request_send/enable"

// count runs f and counts the requests that it sends to FUSE filesystems
// mounted below dir, by operation.
func (t *tracing) count(dir string, f func() error) (map[string]int, error) {
	connections, err := connectionsBelow(dir)
	if err != nil {
		return nil, err
	}
	err = errors.Join(t.set("trace", ""), t.set(sendEvent, "1"))
	if err != nil {
		return nil, fmt.Errorf("warm: tracing: %w", err)
	}
	err = errors.Join(f(), t.set(sendEvent, "0"))
	if err != nil {
		return nil, err
	}
	return t.read(connections)
}

// A line of a trace ends in "connection 41 req 2 opcode 1 (FUSE_LOOKUP) len 45".
var sent = regexp.MustCompile(`connection (\d+) req \d+ opcode \d+ \((?:FUSE_)?(\w+)\)`)

func (t *tracing) read(connections map[string]bool) (map[string]int, error) {
	f, err := os.Open(filepath.Join(t.instance, "trace"))
	if err != nil {
		return nil, fmt.Errorf("warm: %w", err)
	}
	defer f.Close()
	counts := map[string]int{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		found := sent.FindSubmatch(lines.Bytes())
		if found != nil && connections[string(found[1])] {
			counts[strings.ToLower(string(found[2]))]++
		}
		if strings.Contains(lines.Text(), "LOST") {
			return nil, errors.New("warm: the trace buffer is too small")
		}
	}
	return counts, lines.Err()
}

func (t *tracing) close() error {
	var err error
	if t.instance != "" {
		err = os.Remove(t.instance)
	}
	if e := unix.Unmount(t.tracefs, 0); e != nil && !errors.Is(e, unix.EINVAL) {
		err = errors.Join(err, e)
	}
	return errors.Join(err, os.Remove(t.tracefs))
}

// connectionsBelow is the FUSE connections mounted below dir. The kernel
// numbers them by the minor number of their device.
func connectionsBelow(dir string) (map[string]bool, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("warm: %w", err)
	}
	connections := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 5 || !strings.HasPrefix(fields[4], dir+"/") {
			continue
		}
		_, after, _ := strings.Cut(line, " - ")
		if strings.HasPrefix(after, "fuse") {
			_, minor, _ := strings.Cut(fields[2], ":")
			connections[minor] = true
		}
	}
	return connections, nil
}
