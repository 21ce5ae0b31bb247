// Package keylock has a lock for each key: calls about the same thing go one by
// one, calls about different things beside each other. It differs from a map of
// sync.Mutex in that a context can end the wait, and in that a key takes memory
// only while somebody holds it or waits for it.
package keylock
