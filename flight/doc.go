// Package flight shares work: calls that want the same thing at the same time get
// the result of the one that asked first. It is golang.org/x/sync/singleflight with
// types, a context for each call that waits, and one for the work: the work
// outlives the call that began it, since others may wait for it, too, and it ends
// after a timeout.
package flight
