// Package config is the daemon's configuration file: TOML, every key with its
// default, unknown keys refused. Keys that mean what they mean to
// stargz-snapshotter have the same names. Only cmd/snapshotter imports it.
//
// A key is written as in the file, with the tables that it stands in: root,
// blob.max_retries, endpoint.name. Default has the defaults, and nothing else
// in the program does. Validate holds the rules between settings. Keys end in
// their unit where they have one: _sec, _msec, or _size for bytes.
//
// config.toml.example at the root of the repository sets every key to its
// default; a test holds it to that.
package config
