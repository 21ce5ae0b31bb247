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
//	           31  30  29  28  27
//	literals    1   0  29..26: bits of the first; 25..24: how many; 23..16, 15..8: the bytes
//	length      0   0  23..15: least length;       11..8: bits of the code without the extra bits
//	distance    0   0  29..15: least distance;     11..8: the same
//	length      0   1   0   0   1, else as above:  with extra bits, some of them behind the first 11
//	link        0   1   1   0   0  26..15: first entry; 11..8: how many bits select one
//	end         0   1   0   1   0
//	invalid     0   1   0   0   0
//
// Bits 5..0 are always how many bits to drop: those of the code and of the extra bits that
// follow it, or of the first level for a link. An entry of the first level has two literals if
// both codes fit into 11 bits, and an exact length if its code and its extra bits do.
//
// # Loops
//
// The fast loop has neither checks of bounds nor any of the end of the input: it runs while
// there are margin bytes of input and overrun bytes of room. Its buffers are arrays whose
// indexes are masked, so that not even an error in it can reach other memory. The last bytes
// of the input are for the careful loop, which counts bits.
//
// # Points
//
// To begin in the middle takes a place, which is where a block or a member begins, with the
// bit; and the bytes before it to which later ones refer. These are looked at while the next
// 32 KiB are inflated, since no distance is longer: typically 3,500 bytes of the 32 KiB in
// 260 runs. As nothing behind these 32 KiB can refer to what is before the point, a window
// is enough for everything up to the end of the blob. Resume refuses a match that refers to
// other bytes: those of a point of another blob, or of a damaged one.
//
// A list of points takes about 1,800 bytes for each. Of layers of Debian packages it is 1.4 to
// 1.5 % of the compressed layer for a point every 256 KiB of output, 0.8 % for 512 KiB,
// 0.45 % for 1 MiB and 0.13 % for 4 MiB.
package inflate
