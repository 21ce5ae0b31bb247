package merge

import (
	"fmt"
	"path"
	"strings"
)

// CopyPrefix begins the labels by which a client asks for a copy: from, source
// and target follow.
const CopyPrefix = "containerd.io/snapshot/ladle.copy."

// CopiedLabel is on every snapshot that was prepared as a copy, as long as it is
// active. No client can set it, and its value says nothing to clients.
const CopiedLabel = "containerd.io/snapshot/ladle.copied"

// CopyRequest is a copy that a client asks for: see the package's documentation.
type CopyRequest struct {
	From   string // the client's name of the snapshot that has the source
	Source string // absolute and clean
	Target string // absolute and clean, but for a slash at the end
}

// maxPath is in bytes (PATH_MAX, less the directories of snapshots).
const maxPath = 3500

// ParseCopy returns the copy that labels ask for, and whether they ask for one.
func ParseCopy(labels map[string]string) (r CopyRequest, asked bool, err error) {
	for key, value := range labels {
		name, ok := strings.CutPrefix(key, CopyPrefix)
		if !ok {
			continue
		}
		asked = true
		switch name {
		case "from":
			r.From = value
		case "source":
			r.Source = value
		case "target":
			r.Target = value
		default:
			return r, true, fmt.Errorf("label %s: unknown", key)
		}
	}
	if !asked {
		return r, false, nil
	}
	if r.From == "" {
		return r, true, fmt.Errorf("no label %sfrom", CopyPrefix)
	}
	target := r.Target
	if target != "/" {
		target = strings.TrimSuffix(target, "/")
	}
	for name, p := range map[string]string{"source": r.Source, "target": target} {
		if !path.IsAbs(p) || path.Clean(p) != p || len(p) > maxPath || strings.ContainsRune(p, 0) {
			return r, true, fmt.Errorf("label %s%s: %q is no absolute, clean path", CopyPrefix, name, p)
		}
	}
	return r, true, nil
}

// Labels returns the labels that ask for r.
func (r CopyRequest) Labels() map[string]string {
	return map[string]string{CopyPrefix + "from": r.From, CopyPrefix + "source": r.Source, CopyPrefix + "target": r.Target}
}
