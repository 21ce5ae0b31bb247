package config

import "testing"

func TestReserve(t *testing.T) {
	const gib = 1 << 30
	for _, test := range []struct {
		text Reserve
		size int64
		want int64
	}{
		{"auto", 1000 * gib, 10 * gib},
		{"auto", 100 * gib, 100 * gib / 100 * 5},
		{"auto", gib, 256 << 20},
		{"auto", 100 << 20, 25 << 20},
		{"20%", 1000 * gib, 1000 * gib / 100 * 20},
		{"0", gib, 0},
		{"1000000", gib, 1000000},
	} {
		if got := test.text.Of(test.size); got != test.want {
			t.Errorf("%s of %d bytes is %d, want %d", test.text, test.size, got, test.want)
		}
	}
}
