package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func load(t *testing.T, text string) (Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(path)
}

func TestLoadKeepsDefaults(t *testing.T) {
	c, err := load(t, `
read_timeout_sec = 5
[blob]
max_retries = 1
[[endpoint]]
name = "buildkit"
address = "/run/b.sock"
[[resolver.host."registry.example".mirrors]]
host = "mirror.example:5000"
insecure = true
header = { X-One = "1", X-Two = ["a", "b"] }
`)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.ReadTimeout.Duration(); got != 5*time.Second {
		t.Errorf("read timeout is %v", got)
	}
	if c.Blob.MaxRetries != 1 || c.Blob.MaxWait.Duration() != 5*time.Second {
		t.Errorf("blob is %+v", c.Blob)
	}
	if c.Root != Default().Root {
		t.Errorf("root is %q", c.Root)
	}
	if e := c.AllEndpoints(); len(e) != 2 || e[0].Name != MainEndpoint || e[1].Address != "/run/b.sock" {
		t.Errorf("endpoints are %+v", e)
	}
	mirror := c.Registries.Host["registry.example"].Mirrors[0]
	header, err := mirror.Headers()
	if err != nil {
		t.Fatal(err)
	}
	if header.Get("X-One") != "1" || len(header.Values("X-Two")) != 2 {
		t.Errorf("headers are %v", header)
	}
}

func TestLoadOfNoFile(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
}

// TestRefused has files that must be refused, and what the error must say.
func TestRefused(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"typo":               {"\nread_timeout = 3", []string{`:2: unknown key "read_timeout"`, `"read_timeout_sec"`}},
		"no_prometheus":      {"no_prometheus = false", []string{`:1: unknown key "no_prometheus"`, `metrics_address = ""`}},
		"typo in a table":    {"[blob]\nmax_retry = 3", []string{`:2: unknown key "blob.max_retry"`, `"blob.max_retries"`}},
		"dotted":             {"blob.max_retry = 3", []string{`:1: unknown key "blob.max_retry"`, `"blob.max_retries"`}},
		"wrong table":        {"max_retries = 3", []string{`:1: unknown key "max_retries"`, `"blob.max_retries"`}},
		"unknown table":      {"\n\n[blobs]\nmax_retries = 3", []string{`:3: unknown key "blobs"`, `"blob"`}},
		"below a name":       {"[[resolver.host.h.mirrors]]\nhosts = \"m\"", []string{`:2: unknown key`, `mirrors.host"`}},
		"list for one":       {"[[resolver.hosts.h.mirrors]]\nhost = \"m\"", []string{`unknown key`, `"resolver.host"`}},
		"several":            {"rot = \"/\"\ndrive = \"erofs\"", []string{`:1: `, `"root"`, `:2: `, `"driver"`}},
		"of stargz":          {"disable_verification = true", []string{`:1: `, "no counterpart: every chunk is verified"}},
		"table of stargz":    {"[directory_cache]\ndirect = true", []string{`:1: `, "no counterpart"}},
		"wrong type":         {"\nread_timeout_sec = \"3s\"", []string{":2: read_timeout_sec: "}},
		"wrong type deep":    {"[blob]\nmax_retries = true", []string{":2: blob.max_retries: "}},
		"no toml":            {"root = /var", []string{":1: "}},
		"relative root":      {`root = "var"`, []string{`root: "var" is not an absolute path`}},
		"root with a colon":  {`root = "/a:b"`, []string{"must not contain"}},
		"driver":             {`driver = "ext4"`, []string{"auto, erofs, loop, fuse"}},
		"log":                {"[log]\nlevel = \"loud\"\nformat = \"xml\"", []string{"log.level: ", "log.format: "}},
		"long socket":        {`address = "/` + strings.Repeat("a", 107) + `"`, []string{"longer than 107 bytes"}},
		"same socket":        {"[[endpoint]]\nname = \"b\"\naddress = \"/run/ladle/ladle.sock\"", []string{"is that of address, too"}},
		"control socket":     {`control_address = "/run/ladle/ladle.sock"`, []string{"control_address: "}},
		"auto control":       {"[[endpoint]]\nname = \"b\"\naddress = \"/run/ladle/ladle-control.sock\"", []string{"control_address: "}},
		"debug socket":       {`debug_address = "/run/ladle/ladle.sock"`, []string{"debug_address: "}},
		"endpoint main":      {"[[endpoint]]\nname = \"main\"\naddress = \"/b\"", []string{"is there already"}},
		"endpoint path":      {"[[endpoint]]\nname = \"../b\"\naddress = \"/b\"", []string{"endpoint.name: "}},
		"endpoint empty":     {"[[endpoint]]\n", []string{"endpoint.name: ", "endpoint.address: "}},
		"no time":            {"read_timeout_sec = 0\nmount_timeout_sec = -1", []string{"read_timeout_sec: ", "mount_timeout_sec: "}},
		"no retry":           {"[blob]\nmax_retries = 0", []string{"blob.max_retries: "}},
		"waits":              {"[blob]\nmin_wait_msec = 50\nmax_wait_msec = 40", []string{"40 is less than blob.min_wait_msec, 50"}},
		"prefetch":           {"noprefetch = true\nprefetch_size = 1", []string{"noprefetch"}},
		"metrics address":    {`metrics_address = "9099"`, []string{"metrics_address: "}},
		"mirror with http":   {"[[resolver.host.h.mirrors]]\nhost = \"http://m\"", []string{"is not host or host:port"}},
		"mirror header":      {"[[resolver.host.h.mirrors]]\nhost = \"m\"\nheader = {X = 1}", []string{"neither a string"}},
		"reserve":            {"[store]\nreserve = \"120%\"", []string{"store.reserve: ", "120%"}},
		"reserve of nothing": {"[store]\nreserve = \"\"", []string{"store.reserve: "}},
		"hosts directory":    {`hosts_dir = "certs.d"`, []string{"hosts_dir: "}},
		"kubelet path":       {"[credentials]\nkubelet_config = \"a\"\nkubelet_bin_dir = \"/b\"", []string{"credentials.kubelet_config: \"a\" is not"}},
		"kubelet half":       {"[credentials]\nkubelet_config = \"/a\"", []string{"credentials.kubelet_config: is of use only"}},
		"secrets half":       {"[credentials]\nsecrets = [\"a\"]", []string{"credentials.kubeconfig: is of use only"}},
		"secrets":            {"[credentials]\nkubeconfig = \"/a\"\nsecrets = [\"a\", \"../b\", \"a/\", \"a/b/c\", \"A\"]", []string{`"../b" is`, `"a/" is`, `"a/b/c" is`, `"A" is`}},
		"docker without":     {"[credentials]\ndocker = false\ndocker_config = \"/a\"", []string{"credentials.docker_config: "}},
		"cri relative":       {"[cri]\naddress = \"cri.sock\"\nimage_service = \"c.sock\"", []string{`cri.address: "cri.sock"`, `cri.image_service: "c.sock"`}},
		"cri of itself":      {"[cri]\naddress = \"/a\"\nimage_service = \"/a\"", []string{`cri.image_service: "/a" is that of cri.address`}},
		"mirror timeout":     {"[[resolver.host.h.mirrors]]\nhost = \"m\"\nrequest_timeout_sec = -1", []string{"request_timeout_sec: -1 is less than 0"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, test.text)
			if err == nil {
				t.Fatal("it is accepted")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("nothing about %s in: %v", want, err)
				}
			}
		})
	}
}

func TestDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"root", "root", 0}} {
		if got := distance(test.a, test.b); got != test.want {
			t.Errorf("distance(%q, %q) = %d, want %d", test.a, test.b, got, test.want)
		}
	}
}
