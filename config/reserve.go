package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Reserve is the part of a filesystem that stays free, in the form of the file: "auto", a
// percentage such as "5%", or a number of bytes.
type Reserve string

// "auto" is autoPercent of the filesystem, but at least autoLeast bytes or a quarter of the
// filesystem, whichever is less, and at most autoMost bytes.
const (
	autoPercent       = 5
	autoLeast   int64 = 256 << 20
	autoMost    int64 = 10 << 30
)

// Of returns the bytes of a filesystem of size bytes that stay free. r is valid.
func (r Reserve) Of(size int64) int64 {
	if r == "auto" {
		return min(max(size/100*autoPercent, min(autoLeast, size/4)), autoMost)
	}
	percent, bytes, err := r.parse()
	if err != nil {
		return 0
	}
	return size/100*percent + bytes
}

// parse returns a percentage or a number of bytes.
func (r Reserve) parse() (percent, bytes int64, err error) {
	number, isPercent := strings.CutSuffix(string(r), "%")
	n, err := strconv.ParseInt(number, 10, 64)
	switch {
	case err != nil || n < 0 || isPercent && n > 100:
		return 0, 0, fmt.Errorf("%q is neither auto, nor a percentage such as 5%%, nor a number of bytes", string(r))
	case isPercent:
		return n, 0, nil
	}
	return 0, n, nil
}

func (c *Config) validateStore(p *problems) {
	if c.Store.Reserve == "auto" {
		return
	}
	if _, _, err := c.Store.Reserve.parse(); err != nil {
		p.add("store.reserve", "%v", err)
	}
}
