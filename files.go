package ladle

import _ "embed" // of the files below

// ExampleConfig is config.toml.example: every setting with its default.
//
//go:embed config.toml.example
var ExampleConfig []byte

// Unit is the systemd unit of the daemon, for a program in /usr/local/bin.
//
//go:embed script/ladle.service
var Unit []byte

// ContainerdDropIn is containerd's part: a configuration file of version 3 that its main
// configuration imports.
//
//go:embed script/containerd-ladle.toml
var ContainerdDropIn []byte
