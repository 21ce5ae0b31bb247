package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/ladle-dev/ladle/durable"
)

// reservation is how many numbers are reserved at a time, so that a pull of
// many layers waits for the disk once.
const reservation = 16

// numbers hands out the numbers of layers and tree images, from 1. A number
// is on disk as reserved before it is handed out, so it is never handed out twice, also if
// the process is killed or the machine is reset.
type numbers struct {
	path string

	// mu is held while the file is written.
	//
	// INVARIANT: next <= reserved, and the file has reserved. A process that reads the
	// file begins with that number.
	mu struct {
		sync.Mutex
		next     uint64
		reserved uint64
	}
}

// lostNumbers is how far numbers jump when the file that says which are taken
// is damaged.
const lostNumbers = 1024

// load reads the file at path. No number below least is handed out. It
// returns what isDamage tells, and is ready for use, if the file is damaged.
func (c *numbers) load(path string, least uint64) error {
	c.path = path
	next, err := readNumber(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && least <= 1:
		err = nil // a new store
	case isDamage(err):
		next = least + lostNumbers
	}
	c.mu.next = max(next, least, 1)
	c.mu.reserved = c.mu.next
	return err
}

func readNumber(path string) (uint64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	var n uint64
	if _, err := fmt.Sscanf(string(b), "%d", &n); err != nil || string(b) != formatNumber(n) {
		return 0, fmt.Errorf("%s: %w", filepath.Base(path), errDamaged)
	}
	return n, nil
}

func formatNumber(n uint64) string {
	digits := fmt.Sprint(n)
	return fmt.Sprintf("%s %08x\n", digits, checksum([]byte(digits)))
}

// take returns a number that was never returned before.
func (c *numbers) take() (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.next == c.mu.reserved {
		if err := c.saveLocked(c.mu.next + reservation); err != nil {
			return 0, err
		}
	}
	c.mu.next++
	return c.mu.next - 1, nil
}

// giveBack ends the reservation of numbers that were not taken. On a full disk
// they are given up.
func (c *numbers) giveBack() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.next == c.mu.reserved {
		return nil
	}
	if err := c.saveLocked(c.mu.next); !durable.NoSpace(err) {
		return err
	}
	return nil
}

func (c *numbers) saveLocked(reserved uint64) error {
	if err := writeNumber(c.path, reserved); err != nil {
		return err
	}
	c.mu.reserved = reserved
	return nil
}

// writeNumber writes what readNumber reads.
func writeNumber(path string, n uint64) error {
	if info, err := os.Lstat(path); err == nil && info.IsDir() {
		if err := os.RemoveAll(path); err != nil { // nothing can be renamed to it
			return err
		}
	}
	return durable.Write(path, []byte(formatNumber(n)))
}
