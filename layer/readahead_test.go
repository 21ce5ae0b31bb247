package layer

import (
	"fmt"
	"strings"
	"testing"
)

// TestReadahead plays what readers do. Chunks have 64 KiB of the blob; a miss
// at chunk n is answered with a run to the end of the window.
//
//	miss n   a reader misses chunk n: "window", and "sequential" if it is
//	has n    a reader has chunk n: "fetch m" if the next run starts at m
func TestReadahead(t *testing.T) {
	const chunk = 64 << 10
	for name, script := range map[string]string{
		"sequential": `
			miss 0: 256 KiB
			has 0: nothing
			has 3: nothing
			miss 4: 1024 KiB, sequential
			has 4: nothing
			has 11: nothing
			has 12: fetch 20
			miss 20: 4096 KiB, sequential
			has 20: nothing
			has 52: fetch 84
			miss 84: 4096 KiB, sequential`,
		"far apart": `
			miss 0: 256 KiB
			miss 1000: 256 KiB
			miss 2000: 256 KiB
			has 2003: nothing`,
		"in a neighbourhood": `
			miss 0: 256 KiB
			miss 10: 256 KiB
			miss 30: 1024 KiB
			miss 20: 4096 KiB
			has 20: nothing`,
		"in a neighbourhood of which much is read": `
			miss 0: 256 KiB
			has 0: nothing
			miss 10: 1024 KiB
			has 10: nothing
			miss 80: 4096 KiB`,
		"two readers": `
			miss 0: 256 KiB
			miss 1000: 256 KiB
			miss 4: 1024 KiB, sequential
			miss 1004: 1024 KiB, sequential
			has 12: fetch 20
			has 1012: fetch 1020`,
		"no longer sequential": `
			miss 0: 256 KiB
			miss 4: 1024 KiB, sequential
			miss 30: 4096 KiB
			has 80: nothing`,
		"the oldest place is forgotten": `
			miss 0: 256 KiB
			miss 1000: 256 KiB
			miss 2000: 256 KiB
			miss 3000: 256 KiB
			miss 4000: 256 KiB
			miss 5000: 256 KiB
			miss 6000: 256 KiB
			miss 7000: 256 KiB
			miss 8000: 256 KiB
			miss 4: 256 KiB
			miss 2004: 1024 KiB, sequential
			miss 1004: 256 KiB`,
	} {
		var r readahead
		var got strings.Builder
		for line := range strings.Lines(strings.TrimSpace(script)) {
			var verb string
			var n int
			fmt.Sscanf(line, "%s %d", &verb, &n)
			answer := "nothing"
			if verb == "miss" {
				answer = playMiss(&r, n, chunk)
			} else {
				r.readChunk(n, chunk)
				if next, ok := r.ahead(n, int64(n)*chunk); ok {
					answer = fmt.Sprintf("fetch %d", next)
				}
			}
			fmt.Fprintf(&got, "\t\t\t%s %d: %s\n", verb, n, answer)
		}
		if want := strings.TrimLeft(script, "\n") + "\n"; got.String() != want {
			t.Errorf("%s:\n%swant\n%s", name, got.String(), want)
		}
	}
}

// playMiss lets a reader miss chunk n.
func playMiss(r *readahead, n int, chunk int64) string {
	window, sequential := r.miss(n, int64(n)*chunk, minFirst)
	run := span{n, n + int(window/chunk)}
	r.fetched(run, int64(run.first)*chunk, int64(run.end)*chunk)
	answer := fmt.Sprintf("%d KiB", window>>10)
	if sequential {
		answer += ", sequential"
	}
	return answer
}

// Who reads the same again has not read more.
func TestReadaheadCountsOnce(t *testing.T) {
	var r readahead
	window, _ := r.miss(0, 0, maxFirst)
	r.fetched(span{0, 16}, 0, window)
	for range usedShare {
		r.readChunk(3, window/16)
	}
	if next, _ := r.miss(20, window+window/4, maxFirst); next != window {
		t.Errorf("the next window is %d, want %d again", next, window)
	}
}
