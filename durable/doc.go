// Package durable replaces files so that at any time, also after a crash of the machine, a
// file has either its old content or its whole new content; when the call has returned, the
// new one. Databases (bbolt), which change in place, give the same guarantee for each
// transaction; OpenDB and CheckDB detect damaged databases. BootID tells whether unsynced
// writes are still complete.
//
// New content is written to a file with the same name and Suffix, which then replaces the
// old file. A file with Suffix that an interrupted process left is overwritten by the next
// one. A path has one writer at a time.
//
// A file that must be replaced also while the disk is full has a standby with
// blocks of its own: see CreateStandby.
package durable
