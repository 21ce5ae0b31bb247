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
			miss 4: 512 KiB, sequential
			has 4: nothing
			has 7: nothing
			has 8: fetch 12
			miss 12: 1024 KiB, sequential
			has 12: nothing
			has 20: fetch 28
			miss 28: 2048 KiB, sequential
			miss 60: 4096 KiB, sequential
			miss 124: 6144 KiB, sequential
			has 160: nothing
			has 180: fetch 220`,
		"far apart": `
			miss 0: 256 KiB
			miss 1000: 256 KiB
			miss 2000: 256 KiB
			has 2003: nothing`,
		"in a neighbourhood": `
			miss 0: 256 KiB
			miss 10: 512 KiB
			miss 30: 1024 KiB
			miss 20: 2048 KiB
			has 20: nothing`,
		"two readers": `
			miss 0: 256 KiB
			miss 1000: 256 KiB
			miss 4: 512 KiB, sequential
			miss 1004: 512 KiB, sequential
			has 8: fetch 12
			has 1008: fetch 1012`,
		"no longer sequential": `
			miss 0: 256 KiB
			miss 4: 512 KiB, sequential
			miss 20: 1024 KiB
			has 30: nothing`,
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
			miss 2004: 512 KiB, sequential
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
			} else if next, ok := r.ahead(n, int64(n)*chunk); ok {
				answer = fmt.Sprintf("fetch %d", next)
			}
			fmt.Fprintf(&got, "\t\t\t%s %d: %s\n", verb, n, answer)
		}
		if want := strings.TrimLeft(script, "\n") + "\n"; got.String() != want {
			t.Errorf("%s:\n%swant\n%s", name, got.String(), want)
		}
	}
}

func playMiss(r *readahead, n int, chunk int64) string {
	window := r.miss(n, int64(n)*chunk, minFirst)
	next := n + int(window/chunk)
	r.fetched(next, int64(next)*chunk)
	answer := fmt.Sprintf("%d KiB", window>>10)
	for _, p := range r.places {
		if p.used == r.clock && p.sequential {
			answer += ", sequential"
		}
	}
	return answer
}
