package merge

import (
	"fmt"
	"path"
	"strings"
)

// CopyPrefix begins the labels that request a copy; "from", "source" or "target" follows.
const CopyPrefix = "containerd.io/snapshot/ladle.copy."

// CopiedLabel is on a snapshot that was prepared as a copy, as long as it is active. No
// client can set it; its value has no meaning for clients.
const CopiedLabel = "containerd.io/snapshot/ladle.copied"

// CopyRequest is a client's request of a copy: docs/protocol.md.
type CopyRequest struct {
	From   string // the client's key of the snapshot with the source
	Source string // absolute and clean
	Target string // absolute and clean, but for a slash at the end
}

// maxPath is in bytes: PATH_MAX, less the directory of a snapshot.
const maxPath = 3500

// ParseCopy returns the copy that the labels request, and whether they request one.
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

// Labels returns the labels that request r.
func (r CopyRequest) Labels() map[string]string {
	return map[string]string{CopyPrefix + "from": r.From, CopyPrefix + "source": r.Source, CopyPrefix + "target": r.Target}
}
