// Package servicetest runs a daemon as systemd would, for tests of what a
// daemon leaves to its successor.
//
// A Service is one unit: it has at most one main process at a time, and it
// receives what that process tells (sd_notify(3)). Its store keeps the
// descriptors that the process sends, and passes them to the next process
// (sd_pid_notify_with_fds(3), sd_listen_fds(3)). Nothing is started by itself:
// the test says when a process ends, how, and when there is another.
//
// The process that holds a Service holds the descriptors, and nothing else of
// what they stand for: it must not look into filesystems that the daemon
// serves while no daemon runs, nor have files open on them ever.
package servicetest
