// Package memtest measures, for tests, what memory a parser takes for what it is
// given.
package memtest
