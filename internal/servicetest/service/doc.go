// Command service runs a daemon as systemd runs one whose descriptors it keeps
// (see package servicetest), until SIGTERM.
//
// Usage:
//
//	service COMMAND [ARGUMENT...]
//
// SIGHUP restarts the daemon as `systemctl restart` does with script/ladle.service.
// SIGUSR1 kills it and starts another. SIGUSR2 kills it, prints the line
// "service: down N", and lets the next signal start another. SIGTERM stops it for
// good. Whenever a daemon is ready, service prints the line "service: ready N",
// where N counts from 1.
//
// Limitations: a daemon that ends by itself is not started again.
package main
