package config

import "strings"

// stargzOnly has the keys and tables of stargz-snapshotter without a counterpart in this
// file, with the reason.
var stargzOnly = map[string]string{
	"ipfs":                         "blobs come from registries",
	"metadata_store":               "indexes are always on disk, in the store",
	"http_cache_type":              "there is one copy of a layer's bytes, its data file",
	"filesystem_cache_type":        "there is one copy of a layer's bytes, its data file",
	"resolve_result_entry_ttl_sec": "indexes stay in the store as long as the layer",
	"resolve_result_entry":         "indexes stay in the store as long as the layer",
	"prefetch_timeout_sec":         "no container start waits for prefetch",
	"prefetch_async_size":          "no container start waits for prefetch",
	"max_concurrency":              "background work gives way to readers by itself",
	"no_prometheus":                "with metrics_address = \"\", the default, no metrics are served",
	"debug":                        "set log.level to \"trace\"",
	"log_file_access":              "the kernel serves the tree, so opens are not seen",
	"allow_no_verification":        "what cannot be verified is pulled as usual",
	"disable_verification":         "every chunk is verified",
	"blob.valid_interval":          "a layer is mounted without asking the registry",
	"blob.check_always":            "a layer is mounted without asking the registry",
	"blob.chunk_size":              "requests are cut at the layer's own chunks",
	"blob.prefetch_chunk_size":     "requests are cut at the layer's own chunks",
	"blob.force_single_range_mode": "no request asks for more than one range",
	"directory_cache":              "there is one copy of a layer's bytes, its data file",
	"fuse":                         "layers do not change, so the kernel may keep what it was told",
	"fuse_manager":                 "mounts are made again without the network at the next start",
	"kubeconfig_keychain":          "set credentials.kubeconfig and credentials.secrets",
	"cri_keychain":                 "set cri.address and cri.image_service",
	"snapshotter":                  "snapshots come back without the network",
}

// withoutCounterpart returns why key, a key of stargz-snapshotter, has no counterpart. It
// returns "" for a key that stargz-snapshotter does not have either.
func withoutCounterpart(key string) string {
	table, _, _ := strings.Cut(key, ".")
	if why := stargzOnly[table]; why != "" {
		return why
	}
	return stargzOnly[key]
}
