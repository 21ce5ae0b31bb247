// Package control is the control service of the daemon: its methods, what they say, and a
// client. `ladle status` is one, and other commands that ask the daemon are.
//
// The service is gRPC on a unix socket that only root can connect to. Its messages are JSON,
// so there are no generated files: a message is a Go struct with json tags, which a command
// with --json prints as it is. Fields may be added. Both sides are the same program, mostly of
// the same version; a method that a daemon does not have is codes.Unimplemented.
//
// To add a method: its messages in a file of their own, a method of Service, a line in
// description, and a method of Client.
package control
