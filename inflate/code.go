package inflate

// The alphabets of RFC 1951, 3.2.5.
const (
	maxMatch    = 258
	endOfBlock  = 256
	maxLiterals = 286 // symbols of literals and lengths that a block can declare
	maxDists    = 30
	maxCode     = 15 // bits
)

// lengths are the symbols from 257 on: the least length, and how many extra bits are
// added to it.
var lengths = [29]symbol{
	{3, 0}, {4, 0}, {5, 0}, {6, 0}, {7, 0}, {8, 0}, {9, 0}, {10, 0},
	{11, 1}, {13, 1}, {15, 1}, {17, 1}, {19, 2}, {23, 2}, {27, 2}, {31, 2},
	{35, 3}, {43, 3}, {51, 3}, {59, 3}, {67, 4}, {83, 4}, {99, 4}, {115, 4},
	{131, 5}, {163, 5}, {195, 5}, {227, 5}, {258, 0},
}

// distances are the symbols of the distance alphabet.
var distances = [maxDists]symbol{
	{1, 0}, {2, 0}, {3, 0}, {4, 0}, {5, 1}, {7, 1}, {9, 2}, {13, 2},
	{17, 3}, {25, 3}, {33, 4}, {49, 4}, {65, 5}, {97, 5}, {129, 6}, {193, 6},
	{257, 7}, {385, 7}, {513, 8}, {769, 8}, {1025, 9}, {1537, 9},
	{2049, 10}, {3073, 10}, {4097, 11}, {6145, 11}, {8193, 12}, {12289, 12},
	{16385, 13}, {24577, 13},
}

type symbol struct {
	least uint32
	extra uint32
}

// fixedLengths are the code lengths of blocks with fixed codes (RFC 1951, 3.2.6).
var fixedLengths = func() (l [288]uint8) {
	for i := range l {
		switch {
		case i < 144:
			l[i] = 8
		case i < 256:
			l[i] = 9
		case i < 280:
			l[i] = 7
		default:
			l[i] = 8
		}
	}
	return l
}()

var fixedDistances = func() (l [32]uint8) {
	for i := range l {
		l[i] = 5
	}
	return l
}()

// lengthOrder is the order in which the lengths of the code of code lengths are
// declared (RFC 1951, 3.2.7).
var lengthOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
