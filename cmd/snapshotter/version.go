package main

import (
	"runtime"
	"runtime/debug"
)

// release is set by the linker: see the Makefile.
var release string

// version returns the version of the source, of Go, and of the platform.
func version() string {
	v := release
	if v == "" {
		v = "unknown"
		if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
			v = info.Main.Version
		}
	}
	return v + " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
}
