// Package config reads the daemon's configuration file: TOML, with a default for every
// key; unknown keys are refused. Keys with the meaning of one of stargz-snapshotter's have
// its name. Only cmd/snapshotter imports the package.
//
// Comments and errors write a key with its tables: root, blob.max_retries, endpoint.name.
// Default has all defaults of the program. Validate has the rules between settings. A key
// with a unit ends in it: _sec, _msec, or _size for bytes.
//
// config.toml.example at the root of the repository sets every key to its default; a test
// compares them.
package config
