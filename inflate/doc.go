// Package inflate decompresses gzip (RFC 1952), faster than compress/gzip, and finds the
// points at which one can begin to do so.
//
// # What is a gzip file here
//
// All members, one after the other. CRC32 and ISIZE of each are compared, and the CRC16
// of a header that has one. Bytes behind the last member are an error, unless all of them
// are zero. compress/gzip takes not even these; gzip(1), zlib's gzread and pigz ignore
// whatever is there.
//
// Codes are taken as zlib takes them (inflate_table of zlib 1.3): neither over-subscribed nor
// incomplete, but for a code of literals or distances that has only one symbol of 1 bit,
// and a code of distances that has none. The end of a block must have a code, and at most
// 286 literals and lengths and 30 distances are declared. compress/flate takes the same
// streams.
//
// # Bits
//
// Bits are taken from each byte beginning with the lowest, and a Huffman code is written
// with its first bit there (RFC 1951, 3.1.1). So the next bits are the low ones of
// input.hold, and the first level of a table is indexed by codes whose bits are reversed.
//
// # Tables
//
// A code has a table of 2^11 entries for literals and lengths and one of 2^8 for
// distances, indexed by the next bits. Longer codes lead from there to tables of a second
// level. An entry has 32 bits:
//
//	             31        30     29    28   29..15          25..24  11..8        5..0
//	length       0         0                 least length            code bits    bits to drop
//	distance     -         0                 least distance          code bits    bits to drop
//	literals     1         0      29..26: bits of the first; 23..16, 15..8: the bytes; 25..24: how many; bits to drop
//	link         0         1      1          first entry             index bits   bits to drop
//	end          0         1      0     1                                         bits to drop
//	invalid      0         1      0     0                                         bits to drop
//
// "Bits to drop" are those of the code and, of a length or distance, those of the extra
// bits that follow it. An entry of the first level has two literals if both codes fit
// into 11 bits.
package inflate
