// Command ztoc makes a ztoc as SOCI does, for tests of other modules.
//
//	ztoc [-span 4194304] BLOB ZTOC
//
// BLOB is a layer that is compressed by gzip.
package main
