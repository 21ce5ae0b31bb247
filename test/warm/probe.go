package warm

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Times are what a probe measured, by name, in seconds. The names are the
// constants below.
type Times map[string]float64

const (
	allCold   = "everything cold"
	namesCold = "names cold"
	warmed    = "warm"
)

// What is warm is measured several times, for the median: at least so often,
// and for at least so many seconds.
const (
	warmPasses  = 3
	warmSeconds = 0.5
)

// probes are what a child process can measure, by name. The argument is a path
// and a number, which only touch uses.
var probes = map[string]func(path string, n int) (Times, error){
	"walk":   walk,
	"rewalk": rewalk,
	"opens":  opens,
	"stream": stream,
	"touch":  touch,
}

// Probe is the main function of a child process. It prints Times as JSON.
func Probe(args []string) error {
	if len(args) != 3 || probes[args[0]] == nil {
		return fmt.Errorf("warm: no probe %q", args)
	}
	n, err := strconv.Atoi(args[2])
	if err != nil {
		return fmt.Errorf("warm: %w", err)
	}
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	times, err := probes[args[0]](args[1], n)
	if err != nil {
		return fmt.Errorf("warm: %s of %s: %w", args[0], args[1], err)
	}
	return json.NewEncoder(os.Stdout).Encode(times)
}

// probe runs a probe in a child process, which is argv with the arguments of
// Probe.
func probe(ctx context.Context, argv []string, name, path string, n int) (Times, error) {
	argv = append(slices.Clone(argv), name, path, strconv.Itoa(n))
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("warm: probe %s: %w", name, err)
	}
	var times Times
	if err := json.Unmarshal(out, &times); err != nil {
		return nil, fmt.Errorf("warm: probe %s: %w", name, err)
	}
	return times, nil
}

// each divides the times by n.
func (t Times) each(n int64) Times {
	for name := range t {
		t[name] /= float64(n)
	}
	return t
}

// timed is how long f took, in seconds.
func timed(f func() error) (float64, error) {
	began := time.Now()
	err := f()
	return time.Since(began).Seconds(), err
}

// coldThenWarm measures pass with everything cold and then warm.
func coldThenWarm(pass func() error) (Times, error) {
	if err := dropCaches(dropAll); err != nil {
		return nil, err
	}
	cold, err := timed(pass)
	if err != nil {
		return nil, err
	}
	again, err := whileWarm(pass)
	return Times{allCold: cold, warmed: again}, err
}

func whileWarm(pass func() error) (float64, error) {
	var passes []float64
	for total := 0.; len(passes) < warmPasses || total < warmSeconds; {
		t, err := timed(pass)
		if err != nil {
			return 0, err
		}
		passes, total = append(passes, t), total+t
	}
	return median(passes), nil
}

// walk is find with the attributes of every file.
func walk(path string, n int) (Times, error) {
	if err := dropCaches(dropAll); err != nil {
		return nil, err
	}
	if err := find("/dev/null"); err != nil { // loads the program
		return nil, err
	}
	cold, err := timed(func() error { return find(path) })
	if err != nil {
		return nil, err
	}
	times, err := rewalk(path, n)
	if err != nil {
		return nil, err
	}
	times[allCold] = cold
	times[warmed], err = whileWarm(func() error { return find(path) })
	return times, err
}

// rewalk is walk with names cold alone, where nothing has read the files.
func rewalk(path string, _ int) (Times, error) {
	if err := find("/dev/null"); err != nil {
		return nil, err
	}
	if err := dropCaches(dropNames); err != nil {
		return nil, err
	}
	took, err := timed(func() error { return find(path) })
	return Times{namesCold: took}, err
}

func find(path string) error {
	return exec.Command("find", path, "-xdev", "-printf", "%s %m %U").Run()
}

// opens opens, reads and closes every regular file below path. The time is
// that of one file.
func opens(path string, _ int) (Times, error) {
	files, err := filesBelow(path)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, 64<<10)
	times, err := coldThenWarm(func() error {
		for _, file := range files {
			if err := readFile(file, buf); err != nil {
				return err
			}
		}
		return nil
	})
	return times.each(int64(len(files))), err
}

// filesBelow lists the regular files at or below path.
func filesBelow(path string) (files []string, err error) {
	err = filepath.WalkDir(path, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	return files, err
}

// readAll reads every regular file at or below path.
func readAll(path string) error {
	files, err := filesBelow(path)
	buf := make([]byte, 1<<20)
	for _, file := range files {
		if err := readFile(file, buf); err != nil {
			return err
		}
	}
	return err
}

// readFile reads a file with bare system calls: package os would poll it.
func readFile(name string, buf []byte) error {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Read(fd, buf)
		if err != nil {
			return &fs.PathError{Op: "read", Path: name, Err: err}
		}
		if n == 0 {
			return nil
		}
	}
}

// stream reads one file from its start to its end, in pieces as large as
// cat's. The time is that of one byte.
func stream(path string, _ int) (Times, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, 128<<10)
	times, err := coldThenWarm(func() error { return readFile(path, buf) })
	return times.each(info.Size()), err
}

// touch reads n pages of a file at random places through a mapping. The time is
// that of one page.
func touch(path string, n int) (Times, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	p, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	defer unix.Munmap(p)
	page := os.Getpagesize()
	places := rand.New(rand.NewPCG(1, 1)).Perm(len(p) / page)
	places = places[:min(n, len(places))]
	if err := dropCaches(dropAll); err != nil {
		return nil, err
	}
	var sum byte
	took, err := timed(func() error {
		for _, i := range places {
			sum += p[i*page]
		}
		return nil
	})
	runtime.KeepAlive(sum)
	return Times{allCold: took / float64(len(places))}, err
}

func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	return values[(len(values)-1)/2]
}
