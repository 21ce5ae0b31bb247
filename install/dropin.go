package install

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Name is the one by which containerd knows ladle: a plugin and a snapshotter.
const Name = "ladle"

// Mode says what CRI, and so kubelet, uses ladle for.
type Mode struct {
	// Default: CRI's default snapshotter is ladle.
	Default bool `json:"default"`
	// Runtimes are the handlers of RuntimeClasses whose pods are on ladle.
	Runtimes []string `json:"runtimes,omitempty"`
}

func (m Mode) String() string {
	switch {
	case m.Default && len(m.Runtimes) > 0:
		return "CRI's default, and the runtimes " + strings.Join(m.Runtimes, ", ")
	case m.Default:
		return "CRI's default"
	case len(m.Runtimes) > 0:
		return "only for the runtimes " + strings.Join(m.Runtimes, ", ")
	}
	return "not used by CRI"
}

// DropIn says what differs from the drop-in that Daemon has.
type DropIn struct {
	Mode          Mode
	Address, Root string // of the daemon; "": as in the file
	// Annotate makes CRI say of which image a layer is, whatever pulls it.
	Annotate bool
	// Other is the snapshotter that CRI has besides; "" is overlayfs.
	Other string
	// Unpacks are entries of unpack_config of other snapshotters; none: one for Other.
	Unpacks []map[string]any
	// Runtime is the configuration of a runtime that those of Mode are made of.
	Runtime map[string]any
	// Version2 makes a configuration of version 2.
	Version2 bool
}

// Places in the drop-in.
const (
	dropInVersion  = "version = 3\n"
	dropInAddress  = `address = "/run/ladle/ladle.sock"`
	dropInRoot     = `root = "/var/lib/ladle"`
	dropInUnpack   = "[[plugins.\"" + transfer + "\".unpack_config]]\n  platform = \"linux\"\n  snapshotter = \"overlayfs\"\n  differ = \"walking\"\n"
	dropInCRI      = "# Kubernetes: all images go to ladle.\n"
	dropInImages   = "[plugins.\"" + criImages + "\"]\n"
	dropInDefault  = "  snapshotter = \"ladle\"\n"
	dropInAnnotate = "disable_snapshot_annotations = false\n"
)

// Render returns the drop-in that text, which is for version 3 and CRI's default, becomes.
func (d DropIn) Render(text string) (string, error) {
	r := renderer{text: text}
	if d.Address != "" {
		r.replace(dropInAddress, fmt.Sprintf("address = %q", d.Address))
	}
	if d.Root != "" {
		r.replace(dropInRoot, fmt.Sprintf("root = %q", d.Root))
	}
	unpacks, err := d.unpacks()
	if err != nil {
		return "", err
	}
	r.replace(dropInUnpack, unpacks)
	if d.Annotate {
		r.replace("# "+dropInAnnotate, dropInAnnotate)
	}
	if !d.Mode.Default {
		r.withoutDefault(d.Annotate)
	}
	for _, name := range d.Mode.Runtimes {
		tables, err := d.runtime(name)
		if err != nil {
			return "", err
		}
		r.text += tables
	}
	if d.Version2 {
		r.replace(dropInVersion, "version = 2\n")
		if strings.Contains(r.text, dropInImages) && len(d.Mode.Runtimes) == 0 {
			// Containerd overlooks the snapshotter where there is no table of runtimes (2.3.7,
			// plugins/cri/images, migrateConfig).
			r.text += "\n[plugins.\"" + criV2 + "\".containerd.runtimes]\n"
		}
		r.text = strings.ReplaceAll(r.text, dropInImages, "[plugins.\""+criV2+"\".containerd]\n")
	}
	return r.text, r.err
}

// renderer edits a text. Err is set if a place was not found.
type renderer struct {
	text string
	err  error
}

func (r *renderer) replace(before, after string) {
	if !strings.Contains(r.text, before) {
		r.err = fmt.Errorf("the drop-in for containerd has no %q", before)
	}
	r.text = strings.Replace(r.text, before, after, 1)
}

// withoutDefault takes the section of CRI away, or what it says of the snapshotter.
func (r *renderer) withoutDefault(annotate bool) {
	before, section, ok := strings.Cut(r.text, dropInCRI)
	if !ok {
		r.err = fmt.Errorf("the drop-in for containerd has no %q", dropInCRI)
	}
	r.text = strings.TrimRight(before, "\n") + "\n"
	if annotate {
		r.text += "\n" + strings.Replace(section, dropInDefault, "", 1)
	}
}

// unpacks returns the entries of unpack_config of other snapshotters than ladle.
func (d DropIn) unpacks() (string, error) {
	if len(d.Unpacks) == 0 {
		if d.Other == "" {
			return dropInUnpack, nil
		}
		return strings.Replace(dropInUnpack, "overlayfs", d.Other, 1), nil
	}
	var all []string
	for _, u := range d.Unpacks {
		header, _, _ := strings.Cut(dropInUnpack, "\n")
		lines := []string{header}
		for _, key := range unpackKeys(u) {
			value, err := toml.Marshal(map[string]any{"v": u[key]})
			if err != nil {
				return "", err
			}
			text := strings.TrimSpace(strings.TrimPrefix(string(value), "v = "))
			if s, ok := u[key].(string); ok {
				text = fmt.Sprintf("%q", s)
			}
			lines = append(lines, "  "+key+" = "+text)
		}
		all = append(all, strings.Join(lines, "\n")+"\n")
	}
	return strings.Join(all, "\n"), nil
}

// unpackKeys returns the keys of an entry of unpack_config that say something, in the order of
// the drop-in.
func unpackKeys(u map[string]any) []string {
	keys := []string{"platform", "snapshotter", "differ"}
	for _, k := range slices.Sorted(maps.Keys(u)) {
		if !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	return slices.DeleteFunc(keys, func(k string) bool {
		list, isList := u[k].([]any)
		return u[k] == nil || u[k] == "" || u[k] == false || isList && len(list) == 0
	})
}

// runtime returns the tables of a runtime whose containers are on ladle.
func (d DropIn) runtime(name string) (string, error) {
	settings := map[string]any{"runtime_type": "io.containerd.runc.v2"}
	for k, v := range d.Runtime {
		settings[k] = v
	}
	settings["snapshotter"] = Name
	plugins := map[string]any{
		criImages:  map[string]any{"runtime_platforms": map[string]any{name: map[string]any{"snapshotter": Name}}},
		criRuntime: map[string]any{"containerd": map[string]any{"runtimes": map[string]any{name: settings}}},
	}
	if d.Version2 {
		plugins = map[string]any{criV2: map[string]any{"containerd": map[string]any{"runtimes": map[string]any{name: settings}}}}
	}
	text, err := tomlOf(map[string]any{"plugins": plugins})
	if err != nil {
		return "", err
	}
	return "\n# Pods whose RuntimeClass has this handler are on ladle.\n" + withoutEmptyTables(text), nil
}

func tomlOf(v any) (string, error) {
	var b bytes.Buffer
	if err := toml.NewEncoder(&b).Encode(v); err != nil {
		return "", err
	}
	return b.String(), nil
}

// withoutEmptyTables drops headers that another header follows: a table that contains
// only tables need not be named, and must not be twice.
func withoutEmptyTables(text string) string {
	lines := strings.Split(text, "\n")
	header := func(l string) bool { return strings.HasPrefix(l, "[") }
	lines = slices.DeleteFunc(lines, func(l string) bool { return l == "" })
	var kept []string
	for n, l := range lines {
		if header(l) && n+1 < len(lines) && header(lines[n+1]) {
			continue
		}
		kept = append(kept, l)
	}
	return strings.Join(kept, "\n") + "\n"
}
