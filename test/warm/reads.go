package warm

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// opens opens, reads and closes every regular file below each path. The time
// is that of one file.
func opens(paths []string, _ int) ([]Times, error) {
	files := make([][]string, len(paths))
	for i, path := range paths {
		var err error
		if files[i], err = filesBelow(path); err != nil {
			return nil, err
		}
	}
	buf := make([]byte, 64<<10)
	p := pass(func(i int) error { return readFiles(files[i], buf) })
	return p.coldThenWarm(len(paths), func(i int) int { return len(files[i]) })
}

// stream reads each path, a file, from its start to its end, in pieces as large
// as cat's. The time is that of one byte.
func stream(paths []string, _ int) ([]Times, error) {
	info, err := os.Stat(paths[0])
	if err != nil {
		return nil, err
	}
	buf := make([]byte, 128<<10)
	p := pass(func(i int) error { return readFile(paths[i], buf) })
	return p.coldThenWarm(len(paths), func(int) int { return int(info.Size()) })
}

// touch reads n pages of each path, a file, at random places through a mapping.
// The time is that of one page.
func touch(paths []string, n int) ([]Times, error) {
	mapped := make([][]byte, len(paths))
	for i, path := range paths {
		var err error
		if mapped[i], err = mapFile(path); err != nil {
			return nil, err
		}
		defer unix.Munmap(mapped[i])
	}
	page := os.Getpagesize()
	places := rand.New(rand.NewPCG(1, 1)).Perm(len(mapped[0]) / page)
	places = places[:min(n, len(places))]
	var sum byte
	p := pass(func(i int) error {
		for _, at := range places {
			sum += mapped[i][at*page]
		}
		return nil
	})
	cold, err := p.cold(len(paths), dropAll)
	runtime.KeepAlive(sum)
	times := make([]Times, len(cold))
	for i := range cold {
		times[i] = Times{allCold: cold[i] / float64(len(places))}
	}
	return times, err
}

func mapFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
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
	if err != nil {
		return err
	}
	return readFiles(files, make([]byte, 1<<20))
}

func readFiles(files []string, buf []byte) error {
	for _, file := range files {
		if err := readFile(file, buf); err != nil {
			return err
		}
	}
	return nil
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
