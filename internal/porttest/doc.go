// Package porttest keeps a TCP port for a test that listens on it, stops, and listens
// on it again: meanwhile the kernel would give the port to whoever asks for any.
package porttest
