package main

import (
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A daemon does not start on a store that a later version wrote, says so, and leaves it
// as it is. Where the store is removed, as docs/install.md says, snapshots can be
// mounted, and show the right bytes.
func TestStoreOfALaterVersion(t *testing.T) {
	d := startDaemon(t, daemonOptions{config: quiet})
	client := connect(t, d.address)
	i := newImage(t)
	i.pull(t, client)
	if _, err := client.View(t.Context(), "view", "layer"); err != nil {
		t.Fatal(err)
	}
	i.check(t, client, "view", 1<<20)
	d.stop(t.Context())

	store := filepath.Join(d.root, "store")
	was, err := os.ReadFile(filepath.Join(store, "format"))
	if err != nil {
		t.Fatal(err)
	}
	later := fmt.Appendf(nil, "2 %08x\n", crc32.Checksum([]byte("2"), crc32.MakeTable(crc32.Castagnoli)))
	if err := os.WriteFile(filepath.Join(store, "format"), later, 0o600); err != nil {
		t.Fatal(err)
	}
	refused := launch(t, daemonOptions{root: d.root, address: d.address, config: quiet})
	<-refused.exited
	if said := refused.output.String(); refused.err == nil || !strings.Contains(said, "a later version of ladle wrote it: format 2") {
		t.Errorf("it ended with %v and said:\n%s", refused.err, said)
	}

	if err := os.WriteFile(filepath.Join(store, "format"), was, 0o600); err != nil {
		t.Fatal(err)
	}
	i.Reset()
	d = startDaemon(t, daemonOptions{root: d.root, address: d.address, config: quiet})
	i.check(t, connect(t, d.address), "view", 1<<20)
	if n := i.Count(); n > 0 {
		t.Errorf("%d requests for what was there", n)
	}
	d.stop(t.Context())

	if err := os.RemoveAll(store); err != nil {
		t.Fatal(err)
	}
	d = startDaemon(t, daemonOptions{root: d.root, address: d.address, config: quiet})
	i.check(t, connect(t, d.address), "view", len(i.large))
	d.stop(t.Context())
}
