// Package durable replaces files so that whatever happens, a crash of the
// machine among it, a file has its old content or all of its new one; and the
// new one for good once the call has returned. Databases (bbolt), which change in
// place, do the same for each transaction; OpenDB and CheckDB find those that are
// damaged. BootID tells whether what was written and not synced is still complete.
//
// New content is a file of the same name with Suffix until it takes the place
// of the old one. What an interrupted process leaves of it is overwritten by
// the next. A path has one writer at a time.
//
// A file that must be replaced also while the disk is full has a standby with
// blocks of its own: see CreateStandby.
package durable
