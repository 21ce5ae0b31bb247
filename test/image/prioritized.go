package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
)

// matching is the names of the regular files in a tar that match a pattern, in
// the order of the patterns. Links are left out: moving one in front moves its
// target too, and the target need not be in this layer.
func matching(r io.Reader, patterns []string) ([]string, error) {
	found := make([][]string, len(patterns))
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("image: %w", err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		for i, pattern := range patterns {
			ok, err := path.Match(pattern, cleanName(h.Name))
			if err != nil {
				return nil, fmt.Errorf("image: pattern %q: %w", pattern, err)
			}
			if ok {
				found[i] = append(found[i], cleanName(h.Name))
			}
		}
	}
	var names []string
	for _, list := range found {
		names = append(names, list...)
	}
	return names, nil
}
