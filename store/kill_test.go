package store_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/store"
)

// childRoot names, in the environment, the store that a child process of the
// tests works on until it is killed.
const childRoot = "LADLE_TEST_STORE"

func TestMain(m *testing.M) {
	if root := os.Getenv(childRoot); root != "" {
		if err := workUntilKilled(root); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

const killSeeds = 6

// workUntilKilled adds, fills, opens and removes layers and trees at random. It
// writes a line for each number that it sees.
func workUntilKilled(root string) error {
	s, err := store.Open(context.Background(), root, store.Options{})
	if err != nil {
		return err
	}
	fmt.Println("open")
	for {
		seed := rand.IntN(killSeeds)
		if err := workOn(s, seed); err != nil {
			return err
		}
		if rand.IntN(20) == 0 {
			_, err := s.Remove(context.Background(), func(store.ID) bool { return rand.IntN(3) > 0 })
			if err != nil {
				return err
			}
		}
	}
}

func workOn(s *store.Store, seed int) error {
	l, err := s.Add(sampleID(seed), sampleContent(seed))
	if err != nil {
		return err
	}
	defer l.Close()
	fmt.Println("layer", l.Number(), seed)
	for range 6 {
		n := rand.IntN(sampleChunks)
		if err := l.Fill(n, sampleOffset(n), sampleBytes(seed, n)); err != nil {
			return err
		}
	}
	if err := l.AddSource(fmt.Sprint("ref", rand.IntN(20))); err != nil {
		return err
	}
	image, err := s.AddTree(context.Background(), over(sampleID(seed)), 1000, writeImage)
	if err != nil {
		return err
	}
	fmt.Println("tree", image.Number, seed)
	return nil
}

// TestKill kills a process that works on the store at random moments. Whatever
// is there afterwards must be whole, and no number may have had two owners.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long, and is left out by -short")
	}
	root := t.TempDir()
	owners := map[string]string{}
	present, layers := 0, 0
	for range 25 {
		for _, line := range killChild(t, root) {
			var kind, number, seed string
			if _, err := fmt.Sscan(line, &kind, &number, &seed); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			owner := kind + " " + seed
			if was := owners[number]; was != "" && was != owner {
				t.Errorf("number %s was of %s and is of %s", number, was, owner)
			}
			owners[number] = owner
		}
		s := open(t, root, store.Options{})
		for seed := range killSeeds {
			n, ok := checkAfterKill(t, s, seed)
			present += n
			if ok {
				layers++
			}
		}
		closeStore(t, s)
	}
	t.Logf("%d layers with %d present chunks, %d numbers", layers, present, len(owners))
	if present == 0 || layers == 0 {
		t.Error("nothing was checked")
	}
}

// killChild runs a child for a random time and returns what it wrote, whole
// lines only.
func killChild(t *testing.T, root string) (lines []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childRoot+"="+root)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	if line, err := r.ReadString('\n'); err != nil {
		cmd.Wait()
		t.Fatalf("%q %v: %s", line, err, complaints.String())
	}
	kill := time.AfterFunc(rand.N(60*time.Millisecond), func() { cmd.Process.Kill() })
	defer kill.Stop()
	for {
		line, err := r.ReadString('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	cmd.Wait()
	if complaints.Len() > 0 {
		t.Errorf("child: %s", complaints.String())
	}
	return lines
}

// checkAfterKill returns how many chunks of a layer are present; ok is false if
// the store does not have the layer.
func checkAfterKill(t *testing.T, s *store.Store, seed int) (present int, ok bool) {
	t.Helper()
	had := false
	for _, id := range s.Layers() {
		had = had || id == sampleID(seed)
	}
	l, err := s.Layer(sampleID(seed))
	if !had {
		wantNotFound(t, s, seed)
		return 0, false
	}
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := sampleContent(seed)
	entries, err := l.Entries()
	if err != nil || !bytes.Equal(entries, c.Entries) || !bytes.Equal(l.Chunks(), c.Chunks) {
		t.Errorf("layer %d is not whole: %v", seed, err)
	}
	for n := range sampleChunks {
		switch l.State(n) {
		case store.Doubtful:
			t.Errorf("layer %d: chunk %d is doubtful within one boot", seed, n)
		case store.Present:
			present++
			if err := verify(l, seed, n); err != nil {
				t.Error(err)
			}
		}
	}
	spec := over(sampleID(seed))
	if _, err := s.Tree(t.Context(), spec); err == nil {
		checkTree(t, s, spec)
	}
	return present, true
}
