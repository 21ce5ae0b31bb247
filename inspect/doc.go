// Package inspect says of each layer of an image whether ladle reads it lazily, and why.
//
// The reasons are those of package layer, by the same code: what is lazy here is lazy when
// it is pulled. Of a layer that is not lazy, nothing but the first and last bytes are
// fetched, so little is known of it.
package inspect
