package index

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"

	"github.com/containerd/log"
)

func init() { log.SetLevel("error") } // Apply warns of what these tests are about

const (
	sumA  = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	sumB  = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	files = `{"name":"a","type":"reg","size":10,"offset":100,"chunkDigest":"` + sumA + `"}`
)

// hostileFooter is that of a blob for the TOCs in these tests.
var hostileFooter = Footer{TOCOffset: 1000, TOCSize: 1, PayloadSize: 1000, Compression: Gzip}

// TestHostileEntries has TOCs that must be refused.
func TestHostileEntries(t *testing.T) {
	long := strings.Repeat("n", 256)
	reg := func(rest string) string { return `{"name":"f","type":"reg",` + rest + `}` }
	for name, entries := range map[string]string{
		"long name":             `{"name":"` + long + `","type":"dir"}`,
		"long name in path":     `{"name":"` + long + `/f","type":"dir"}`,
		"long path":             `{"name":"` + strings.Repeat("n/", 2048) + `","type":"dir"}`,
		"zero byte":             `{"name":"a\u0000b","type":"dir"}`,
		"not UTF-8":             `{"name":"a` + "\xff" + `","type":"dir"}`,
		"was not UTF-8":         `{"name":"a\ufffd","type":"dir"}`,
		"unknown type":          `{"name":"a","type":"socket"}`,
		"no type":               `{"name":"a"}`,
		"not an object":         `7`,
		"two names":             `{"name":"a","type":"dir","name":"b"}`,
		"below a file":          files + `,{"name":"a/b","type":"dir"}`,
		"below a symlink":       `{"name":"s","type":"symlink","linkName":"/"},{"name":"s/b","type":"dir"}`,
		"below a fifo":          `{"name":"s","type":"fifo"},{"name":"s/b/c","type":"dir"}`,
		"below a whiteout":      `{"name":".wh.s","type":"reg"},{"name":"s/b","type":"dir"}`,
		"empty symlink":         `{"name":"s","type":"symlink"}`,
		"long symlink":          `{"name":"s","type":"symlink","linkName":"` + strings.Repeat("n", 4096) + `"}`,
		"zero byte in symlink":  `{"name":"s","type":"symlink","linkName":"a\u0000"}`,
		"link to nothing":       `{"name":"l","type":"hardlink","linkName":"x"}`,
		"link to itself":        `{"name":"l","type":"hardlink","linkName":"l"}`,
		"link loop":             `{"name":"l","type":"hardlink","linkName":"m"},{"name":"m","type":"hardlink","linkName":"l"}`,
		"link to later":         `{"name":"l","type":"hardlink","linkName":"a"},` + files,
		"link to directory":     `{"name":"d","type":"dir"},{"name":"l","type":"hardlink","linkName":"d"}`,
		"link to the root":      `{"name":"l","type":"hardlink","linkName":"/"}`,
		"link to what it hides": files + `,{"name":"a","type":"hardlink","linkName":"a"}`,
		"link below a file":     files + `,{"name":"l","type":"hardlink","linkName":"a/b"}`,
		"link through symlink":  `{"name":"s","type":"symlink","linkName":"."},` + files + `,{"name":"l","type":"hardlink","linkName":"s/a"}`,
		"whiteout of nothing":   `{"name":".wh.","type":"reg"}`,
		"whiteout of .":         `{"name":"d/.wh..","type":"reg"}`,
		"whiteout of ..":        `{"name":"d/.wh...","type":"reg"}`,
		"negative owner":        `{"name":"d","type":"dir","uid":-1}`,
		"large owner":           `{"name":"d","type":"dir","gid":4294967295}`,
		"huge owner":            `{"name":"d","type":"dir","gid":99999999999999999999}`,
		"device":                `{"name":"d","type":"char","devMajor":4096}`,
		"negative device":       `{"name":"d","type":"block","devMinor":-1}`,
		"time":                  `{"name":"d","type":"dir","modtime":"yesterday"}`,
		"xattr without a name":  `{"name":"d","type":"dir","xattrs":{"":"AA=="}}`,
		"xattr with long name":  `{"name":"d","type":"dir","xattrs":{"user.` + long + `":"AA=="}}`,
		"xattr not base64":      `{"name":"d","type":"dir","xattrs":{"user.a":"?"}}`,
		"large xattr":           `{"name":"d","type":"dir","xattrs":{"user.a":"` + strings.Repeat("AAAA", 22_000) + `"}}`,
		"many xattrs":           `{"name":"d","type":"dir","xattrs":{` + manyXattrs(3) + `}}`,
		"no digest":             reg(`"size":10,"offset":100`),
		"no sha256":             reg(`"size":10,"offset":100,"digest":"sha512:` + strings.Repeat("a", 128) + `"`),
		"short digest":          reg(`"size":10,"offset":100,"chunkDigest":"sha256:aa"`),
		"digest not hex":        reg(`"size":10,"offset":100,"chunkDigest":"sha256:` + strings.Repeat("x", 64) + `"`),
		"negative size":         reg(`"size":-1`),
		"huge size":             reg(`"size":9223372036854775807,"offset":100,"digest":"` + sumA + `"`),
		"huge chunk":            reg(`"size":100000000,"offset":100,"digest":"` + sumA + `"`),
		"negative offset":       reg(`"size":10,"offset":-1,"digest":"` + sumA + `"`),
		"offset in the TOC":     reg(`"size":10,"offset":1000,"digest":"` + sumA + `"`),
		"negative inner offset": reg(`"size":10,"offset":1,"innerOffset":-1,"digest":"` + sumA + `"`),
		"huge inner offset":     reg(`"size":10,"offset":1,"innerOffset":9223372036854775807,"digest":"` + sumA + `"`),
		"negative chunk size":   reg(`"size":10,"offset":1,"chunkSize":-1,"digest":"` + sumA + `"`),
		"chunk behind the end":  reg(`"size":10,"offset":1,"chunkSize":11,"digest":"` + sumA + `"`),
		"chunk overflow":        reg(`"size":10,"offset":1,"chunkOffset":1,"chunkSize":9223372036854775807,"digest":"` + sumA + `"`),
		"file starts late":      reg(`"size":10,"offset":1,"chunkOffset":5,"digest":"` + sumA + `"`),
		"chunk type":            reg(`"size":10,"offset":1,"chunkType":"ones","digest":"` + sumA + `"`),
		"chunks missing":        reg(`"size":10,"offset":1,"chunkSize":4,"chunkDigest":"` + sumA + `"`),
		"chunks with a gap":     reg(`"size":10,"offset":1,"chunkSize":4,"chunkDigest":"`+sumA+`"`) + `,{"type":"chunk","offset":2,"chunkOffset":6,"chunkDigest":"` + sumB + `"}`,
		"chunks that overlap":   reg(`"size":10,"offset":1,"chunkSize":4,"chunkDigest":"`+sumA+`"`) + `,{"type":"chunk","offset":2,"chunkOffset":3,"chunkDigest":"` + sumB + `"}`,
		"chunk without digest":  reg(`"size":10,"offset":1,"chunkSize":4,"digest":"`+sumA+`"`) + `,{"type":"chunk","offset":2,"chunkOffset":4}`,
		"chunk of another file": reg(`"size":10,"offset":1,"chunkSize":4,"chunkDigest":"`+sumA+`"`) + `,{"name":"g","type":"chunk","offset":2,"chunkOffset":4,"chunkDigest":"` + sumB + `"}`,
		"chunk of no file":      `{"name":"f","type":"chunk","offset":2,"chunkOffset":4,"chunkDigest":"` + sumB + `"}`,
		"chunk of an empty":     reg(`"size":0`) + `,{"name":"f","type":"chunk","offset":2,"chunkDigest":"` + sumB + `"}`,
		"chunk of a directory":  `{"name":"f","type":"dir"},{"name":"f","type":"chunk","offset":2,"chunkDigest":"` + sumB + `"}`,
		"bytes of two files":    files + `,{"name":"b","type":"reg","size":10,"offset":100,"innerOffset":9,"digest":"` + sumB + `"}`,
		"same bytes":            files + `,{"name":"b","type":"reg","size":10,"offset":100,"digest":"` + sumA + `"}`,
		"chunks backwards":      reg(`"size":10,"offset":50,"chunkSize":4,"chunkDigest":"`+sumA+`"`) + `,{"type":"chunk","offset":2,"chunkOffset":4,"chunkDigest":"` + sumB + `"}`,
		"files interleaved": reg(`"size":10,"offset":50,"chunkSize":4,"chunkDigest":"`+sumA+`"`) + `,{"type":"chunk","offset":200,"chunkOffset":4,"chunkDigest":"` + sumB + `"},` +
			files,
		"too many bytes": hugeFiles(),
		"long entry":     `{"name":"d","type":"dir","userName":"` + strings.Repeat("x", maxEntry+1) + `"}`,
	} {
		if _, err := Parse(bytes.NewReader(tocOf(t, entries)), hostileFooter); err == nil {
			t.Errorf("%s: no error", name)
		} else if len(err.Error()) > 1000 {
			t.Errorf("%s: error of %d bytes", name, len(err.Error()))
		}
	}
}

func manyXattrs(n int) string {
	var s []string
	for i := range n {
		s = append(s, fmt.Sprintf(`"user.%d":"%s"`, i, strings.Repeat("AAAA", 20_000)))
	}
	return strings.Join(s, ",")
}

// hugeFiles are files that are holes and together too large.
func hugeFiles() string {
	e := func(name string, offset int) string {
		return fmt.Sprintf(`{"name":%q,"type":"reg","size":%d,"offset":%d,"chunkType":"zeros"}`, name, int64(maxFile), offset)
	}
	return e("a", 1) + "," + e("b", 2)
}

// TestHostileDocuments has TOCs that are wrong as a whole.
func TestHostileDocuments(t *testing.T) {
	good := tocOf(t, files)
	if _, err := Parse(bytes.NewReader(good), hostileFooter); err != nil {
		t.Fatal(err)
	}
	bomb := append([]byte(`{"x":"`), bytes.Repeat([]byte("x"), 2*maxEntry)...)
	for name, toc := range map[string][]byte{
		"empty":          {},
		"too large":      make([]byte, maxTOC+1),
		"not compressed": []byte(`{"version":1,"entries":[]}`),
		"truncated":      good[:len(good)-30],
		"not a tar":      gzipped([]byte(`{"version":1,"entries":[]}`)),
		"empty tar":      gzipped(make([]byte, 1024)),
		"no document":    packTOC(t, nil),
		"array":          packTOC(t, []byte(`[]`)),
		"cut":            packTOC(t, []byte(`{"version":1,"entries":[`)),
		"trailing":       packTOC(t, []byte(`{"version":1,"entries":[]} {}`)),
		"twice":          packTOC(t, []byte(`{"entries":[],"entries":[]}`)),
		"version":        packTOC(t, []byte(`{"version":2,"entries":[]}`)),
		"entries":        packTOC(t, []byte(`{"version":1,"entries":{}}`)),
		"deep":           packTOC(t, []byte(`{"x":`+strings.Repeat("[", 100_000))),
		"bomb":           packTOC(t, bomb),
		"tar headers":    gzipped(bytes.Repeat(paxHeader(t), 10_000)),
	} {
		if _, err := Parse(bytes.NewReader(toc), hostileFooter); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	zstdFooter := hostileFooter
	zstdFooter.Compression = Zstd
	if _, err := Parse(bytes.NewReader(good), zstdFooter); err == nil {
		t.Error("gzip taken for zstd")
	}
	if _, err := Parse(bytes.NewReader(good), Footer{PayloadSize: 1000}); err == nil {
		t.Error("no compression")
	}
}

func gzipped(p []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(p)
	w.Close()
	return b.Bytes()
}

// paxHeader is an extended header of a tar with nothing behind it.
func paxHeader(t *testing.T) []byte {
	m := reg("x", "").xattr("user.x", "y")
	return tarOf(t, []member{m})[:1024]
}

// TestTooMany has more entries than a TOC may have.
func TestTooMany(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long, and is left out by -short")
	}
	var s strings.Builder
	s.WriteString(`{"entries":[{"type":"dir"}`)
	s.WriteString(strings.Repeat(`,{"type":"dir"}`, maxEntries))
	s.WriteString(`]}`)
	if _, err := Parse(bytes.NewReader(packTOC(t, []byte(s.String()))), hostileFooter); err == nil {
		t.Error("no error")
	}
}

// TestHarmless has TOCs with oddities that must not be in the way.
func TestHarmless(t *testing.T) {
	for name, document := range map[string]string{
		"null entries":   `{"version":1,"entries":null}`,
		"no entries":     `{"version":1}`,
		"order":          `{"entries":[` + files + `],"version":1,"unknown":{"a":[1,{}]}}`,
		"unknown fields": `{"entries":[{"name":"a","type":"dir","unknown":{"a":[1,{}]}}]}`,
		"empty name":     `{"entries":[{"name":"","type":"dir"},{"type":"symlink"},{"name":"..","type":"what"}]}`,
		"white space":    "\n{\t\"entries\" : [\n] }\n\n",
		"offset of none": `{"entries":[{"name":"a","type":"reg","offset":-5,"digest":"x"}]}`,
	} {
		if _, err := Parse(bytes.NewReader(packTOC(t, []byte(document))), hostileFooter); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNeverInEffect has names and attributes that must not come through.
func TestNeverInEffect(t *testing.T) {
	index, err := Parse(bytes.NewReader(tocOf(t, `{"name":"d","type":"dir","xattrs":{"trusted.overlay.opaque":"eQ==",`+
		`"user.overlay.opaque":"eQ==","trusted.overlay.redirect":"L3g=","user.overlay.metacopy":"","user.ok":"eQ=="}},`+
		`{"name":"d/.wh..wh.plnk","type":"reg"},{"name":"d/.wh..wh.aufs","type":"dir"},{"name":"stargz.index.json","type":"dir"},`+
		`{"name":"d/stargz.index.json","type":"dir"},{"name":".no.prefetch.landmark","type":"reg"},{"name":"d/x","type":"fifo"},{"name":"d/.wh.x","type":"fifo"}`)),
		hostileFooter)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range index.Root.Dir.Entries() {
		names = append(names, e.Name)
	}
	d := index.Root.Dir.Lookup("d")
	for _, e := range d.Dir.Entries() {
		names = append(names, "d/"+e.Name)
	}
	if got := strings.Join(names, " "); got != "d d/stargz.index.json d/x" {
		t.Errorf("names %s", got)
	}
	if len(d.Xattrs) != 1 || d.Xattrs["user.ok"] != "y" || d.Dir.Opaque {
		t.Errorf("xattrs %q, opaque %v", d.Xattrs, d.Dir.Opaque)
	}
	if d.Dir.Lookup("x").IsWhiteout() {
		t.Error("a whiteout hides what its own layer has")
	}
}
