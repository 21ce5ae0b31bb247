// Package lru makes caches that drop the entries that were used longest ago: those
// of github.com/hashicorp/golang-lru, bounded by a number of entries, and one that
// is bounded by bytes and drops all after some time without a new entry.
//
// The module's own cache with a lifetime, package expirable, is not used. Its
// goroutine never ends, it knows no sizes, and where answers are kept for a time
// here, an old one still counts when no new one can be had.
package lru
