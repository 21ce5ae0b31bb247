package install

import (
	"fmt"
	"slices"

	"github.com/pelletier/go-toml/v2"
)

// Names of containerd's plugins, in configurations of version 3 and later, and of version 2.
const (
	criImages  = "io.containerd.cri.v1.images"
	criRuntime = "io.containerd.cri.v1.runtime"
	criV2      = "io.containerd.grpc.v1.cri"
	transfer   = "io.containerd.transfer.v1.local"
)

// table is a table of a configuration of containerd.
type table map[string]any

func parseTable(text []byte) (table, error) {
	var t table
	if err := toml.Unmarshal(text, &t); err != nil {
		return nil, err
	}
	return t, nil
}

// at returns the value below keys, nil if there is none.
func (t table) at(keys ...string) any {
	var v any = map[string]any(t)
	for _, k := range keys {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[k]
	}
	return v
}

func (t table) sub(keys ...string) table {
	m, _ := t.at(keys...).(map[string]any)
	return m
}

func (t table) text(keys ...string) string {
	s, _ := t.at(keys...).(string)
	return s
}

func (t table) list(keys ...string) []any {
	l, _ := t.at(keys...).([]any)
	return l
}

// version is that of the format. A file that says none has version 1.
func (t table) version() int64 {
	if v, ok := t["version"].(int64); ok {
		return v
	}
	return 1
}

func (t table) imports() (all []string) {
	for _, i := range t.list("imports") {
		if s, ok := i.(string); ok {
			all = append(all, s)
		}
	}
	return all
}

// images has the settings of CRI's images, which version 2 has elsewhere.
func (t table) images() table {
	if t.version() >= 3 {
		return t.sub("plugins", criImages)
	}
	all := table{}
	for k, v := range t.sub("plugins", criV2) {
		all[k] = v
	}
	for k, v := range t.sub("plugins", criV2, "containerd") {
		all[k] = v
	}
	return all
}

// runtime has the settings of CRI's runtimes.
func (t table) runtime() table {
	if t.version() >= 3 {
		return t.sub("plugins", criRuntime, "containerd")
	}
	return t.sub("plugins", criV2, "containerd")
}

// address is containerd's socket, "" if nothing is said of it.
func (t table) address() string {
	if a := t.text("plugins", "io.containerd.server.v1.grpc", "address"); a != "" {
		return a
	}
	return t.text("grpc", "address")
}

// localPulls returns which settings make CRI pull without the transfer service, and so without
// saying of which image a layer is (containerd v2.4.2, internal/cri/config,
// CheckLocalImagePullConfigs).
func (t table) localPulls() (all []string) {
	images := t.images()
	for _, key := range []string{"use_local_image_pull", "discard_unpacked_layers", "image_pull_with_sync_fs"} {
		if images.at(key) == true {
			all = append(all, key)
		}
	}
	if n, ok := images.at("max_concurrent_downloads").(int64); ok && n != 3 {
		all = append(all, "max_concurrent_downloads")
	}
	for _, key := range []string{"mirrors", "configs", "auths"} {
		if len(images.sub("registry", key)) > 0 {
			all = append(all, "registry."+key)
		}
	}
	return all
}

// unpacks returns the entries of the transfer service's unpack_config that are not ladle's.
func (t table) unpacks() (all []table) {
	for _, e := range t.list("plugins", transfer, "unpack_config") {
		if m, ok := e.(map[string]any); ok && m["snapshotter"] != Name {
			all = append(all, m)
		}
	}
	return all
}

// differences returns the settings that differ between two configurations, but for those
// that ladle's drop-in may change.
func differences(before, after table, mode Mode) []string {
	ours := [][]string{
		{"version"}, {"imports"},
		{"proxy_plugins", Name}, {"proxy_plugins", Name + "-diff"},
		{"plugins", transfer, "unpack_config"},
		{"plugins", "io.containerd.service.v1.diff-service", "default"},
		{"plugins", criImages, "disable_snapshot_annotations"},
	}
	if mode.Default {
		ours = append(ours, []string{"plugins", criImages, "snapshotter"})
	}
	for _, name := range mode.Runtimes {
		ours = append(ours, []string{"plugins", criImages, "runtime_platforms", name},
			[]string{"plugins", criRuntime, "containerd", "runtimes", name})
	}
	var all []string
	compare(nil, map[string]any(before), map[string]any(after), func(path []string) {
		if !slices.ContainsFunc(ours, func(o []string) bool { return slices.Equal(o, path) }) {
			all = append(all, fmt.Sprintf("%q", path))
		}
	}, func(path []string) bool {
		return slices.ContainsFunc(ours, func(o []string) bool { return slices.Equal(o, path) })
	})
	slices.Sort(all)
	return all
}

// compare calls differs with the paths of values that differ. It looks at no value for which
// skip is true.
func compare(path []string, before, after any, differs func([]string), skip func([]string) bool) {
	if skip(path) {
		return
	}
	a, aok := before.(map[string]any)
	b, bok := after.(map[string]any)
	if !aok && before != nil || !bok && after != nil {
		if fmt.Sprint(before) != fmt.Sprint(after) {
			differs(path)
		}
		return
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			compare(append(slices.Clone(path), k), nil, b[k], differs, skip)
		}
	}
	for k := range a {
		compare(append(slices.Clone(path), k), a[k], b[k], differs, skip)
	}
}
