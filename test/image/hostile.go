package image

import (
	"archive/tar"
	"fmt"
	"io"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// The hostile images. Every layer of theirs keeps to a directory of its own at
// the root, so that they can be stacked in one image; that one is "hostile".
var hostileRecipes = []Recipe{
	hostileRecipe("hostile", "all of the ones below that overlayfs accepts, in 64 layers", func() []Layer {
		layers := []Layer{strangeNames, strangeNodes, sparseFile, wideDirectory, escapingNames}
		layers = append(layers, whiteoutsAtEveryDepth()...)
		return append(layers, deepStack(63-len(layers))...)
	}),
	hostileRecipe("hostile-names", "names, link targets and times at their limits", func() []Layer {
		return []Layer{strangeNames}
	}),
	hostileRecipe("hostile-nodes", "devices, modes, owners, attributes, repeated entries", func() []Layer {
		return []Layer{strangeNodes}
	}),
	hostileRecipe("hostile-whiteouts", "whiteouts and opaque markers at every depth", whiteoutsAtEveryDepth),
	hostileRecipe("hostile-sparse", "a file of 4 GiB of zeros but for three lines", func() []Layer {
		return []Layer{sparseFile}
	}),
	hostileRecipe("hostile-wide", "100,000 files in one directory", func() []Layer {
		return []Layer{wideDirectory}
	}),
	hostileRecipe("hostile-deep", "64 layers that change the same directory", func() []Layer {
		return deepStack(63)
	}),
	hostileRecipe("hostile-escape", "names and links with .. and leading slashes", func() []Layer {
		return []Layer{escapingNames}
	}),
	hostileRecipe("hostile-through-link", "a file whose parent directory is a symbolic link out of the root", func() []Layer {
		return []Layer{throughLink}
	}),
	hostileRecipe("hostile-parents", "a layer that names files but not their directories", func() []Layer {
		return []Layer{withParents, withoutParents}
	}),
	hostileRecipe("hostile-marks", "attributes by which overlayfs marks its own files", func() []Layer {
		return []Layer{unmarked, marked}
	}),
}

func hostileRecipe(name, about string, above func() []Layer) Recipe {
	return Recipe{
		Name: name, About: about, Version: 2, Config: v1.Config{Env: busyboxConfig.Env, Cmd: busyboxConfig.Cmd},
		Layers: func(Env) ([]Layer, error) { return layersWithBusybox(above()...) },
	}
}

// strangeNames holds names that break careless parsers, and the longest ones.
func strangeNames(w *tar.Writer) error {
	const in = "names/"
	names := []string{
		"new\nline", "\n", "tab\t", " leading", "trailing ", "back\\slash", "quote\"'`", "-rf", "...", "..two", "a..b",
		".wh", "wh.file", "star*?[x]", "percent%2e%2e", "colon:comma,equals=", "ünï©ødé", "\u202ertl", "emoji \U0001f95e",
		"\x7f\x01control", strings.Repeat("n", 255), strings.Repeat("é", 127) + "x",
	}
	headers := []tar.Header{dir(in, 0o755)}
	text := map[string]string{}
	for i, name := range names {
		headers = append(headers, reg(in+name, 0o644, 0))
		text[in+name] = fmt.Sprintf("name %d\n", i)
	}
	deep := in + "deep"
	for range 15 {
		headers = append(headers, dir(deep, 0o755))
		deep += "/" + strings.Repeat("d", 200)
	}
	headers = append(headers, dir(deep, 0o755), reg(deep+"/bottom", 0o644, 0),
		dir(in+"dir\nwith newline", 0o755), reg(in+"dir\nwith newline/file", 0o644, 0),
		symlink(in+"long link", strings.Repeat("x/", 2000)), symlink(in+"link\nnewline", "new\nline"),
		symlink(in+"loop", "loop"), symlink(in+"dangling", "nowhere"), symlink(in+"self", "."),
		hardlink(in+"hard\nlink", reg(in+"new\nline", 0o644, 0)))
	for _, year := range []int{1901, 1970, 2039, 2107, 2400} {
		h := reg(fmt.Sprintf("%syear %d", in, year), 0o644, 0)
		h.ModTime = time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
		headers = append(headers, h)
	}
	return entries(text, headers...)(w)
}

// strangeNodes holds every type and mode of file, and an order of entries that
// real builders seldom write.
func strangeNodes(w *tar.Writer) error {
	const in = "nodes/"
	node := func(name string, typ byte, major, minor int64) tar.Header {
		return tar.Header{Typeflag: typ, Name: in + name, Mode: 0o600, Devmajor: major, Devminor: minor, ModTime: epoch}
	}
	fifo, linked := node("fifo", tar.TypeFifo, 0, 0), reg(in+"group one", 0o644, 0)
	second := hardlink(in+"group/two", linked)
	owned := reg(in+"owned", 0o640, 0)
	owned.Uid, owned.Gid = 1<<31-2, 1<<31-3
	attributes := withXattr(reg(in+"attributes", 0o644, 0), "user.empty", "")
	attributes = withXattr(attributes, "user.binary", "\x00\xff\n=")
	attributes = withXattr(attributes, "trusted.ladle", "trusted")
	attributes = withXattr(attributes, "user."+strings.Repeat("k", 200), "long key")
	attributes = withXattr(attributes, "user.long", strings.Repeat("v", 2500))
	text := map[string]string{in + "z first/child": "entry before its directory\n", in + "twice": "second\n", in + "group one": "linked\n"}
	err := entries(text, dir(in, 0o755), reg(in+"z first/child", 0o644, 0), dir(in+"z first", 0o711))(w)
	if err != nil {
		return err
	}
	if err := put(w, reg(in+"twice", 0o644, 0), "first, and longer\n"); err != nil {
		return err
	}
	return entries(text,
		reg(in+"twice", 0o600, 0), reg(in+"empty", 0o644, 0), reg(in+"setuid", 0o4755, 0), reg(in+"setgid", 0o2755, 0),
		reg(in+"sticky", 0o1644, 0), reg(in+"no mode", 0, 0), dir(in+"sticky dir", 0o3777), dir(in+"closed dir", 0),
		owned, attributes, fifo, node("char", tar.TypeChar, 1, 3), node("block", tar.TypeBlock, 7, 0),
		node("large minor", tar.TypeChar, 250, 70_000),
		dir(in+"group", 0o755), linked, second, hardlink(in+"group/three", second), hardlink(in+"fifo too", fifo),
		symlink(in+"link", "group one"),
	)(w)
}

// sparseSize needs more than 32 bits, and is not much more: whoever reads it all reads
// every byte.
const sparseSize = 4<<30 + 64<<10

// sparseFile holds one file with a line at its start, past 4 GiB, and at its end.
func sparseFile(w *tar.Writer) error {
	if err := put(w, dir("sparse", 0o755), ""); err != nil {
		return err
	}
	start, middle, end := "start\n", "past four gibibytes\n", "end\n"
	const at = 4<<30 + 12345
	content := io.MultiReader(
		strings.NewReader(start), zeros(at-int64(len(start))),
		strings.NewReader(middle), zeros(sparseSize-at-int64(len(middle)+len(end))),
		strings.NewReader(end))
	return putFrom(w, reg("sparse/file", 0o644, sparseSize), content)
}

func zeros(n int64) io.Reader { return io.LimitReader(zeroReader{}, n) }

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// wideDirectory holds 100,000 files, every tenth of them empty.
func wideDirectory(w *tar.Writer) error {
	if err := put(w, dir("wide", 0o755), ""); err != nil {
		return err
	}
	for i := range 100_000 {
		content := ""
		if i%10 != 0 {
			content = fmt.Sprintf("file %d\n", i)
		}
		if err := put(w, reg(fmt.Sprintf("wide/%06d", i), 0o644, 0), content); err != nil {
			return err
		}
	}
	return nil
}

// deepStack is n layers that all work in one directory: each adds a file,
// rewrites a shared one, and deletes the file of the third layer below it.
func deepStack(n int) []Layer {
	layers := make([]Layer, n)
	for i := range layers {
		layers[i] = func(w *tar.Writer) error {
			text := map[string]string{
				"deep/shared":                    fmt.Sprintf("layer %d\n", i),
				fmt.Sprintf("deep/file-%02d", i): fmt.Sprintf("of layer %d\n", i),
			}
			headers := []tar.Header{
				dir("deep", 0o755), reg("deep/shared", 0o644, 0), reg(fmt.Sprintf("deep/file-%02d", i), 0o644, 0),
			}
			if i >= 3 && i%2 == 0 {
				headers = append(headers, whiteout(fmt.Sprintf("deep/file-%02d", i-3)))
			}
			return entries(text, headers...)(w)
		}
	}
	return layers
}
