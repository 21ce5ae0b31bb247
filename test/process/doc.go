// Package process runs the programs of a test bed as child processes: with
// their output in a file, ended with the process that started them, and waited
// for.
package process
