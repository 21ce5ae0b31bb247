package auth

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The versions of the API of credential providers, which are those of their configuration
// with another group: kubelet.config.k8s.io and credentialprovider.kubelet.k8s.io.
var providerVersions = []string{"v1", "v1beta1", "v1alpha1"}

const (
	configGroup   = "kubelet.config.k8s.io/"
	providerGroup = "credentialprovider.kubelet.k8s.io/"

	// maxConfigFiles bounds the files of a directory of configurations.
	maxConfigFiles = 64
)

// providerConfig is a file with the kind CredentialProviderConfig
// (kubernetes.io/docs/reference/config-api/kubelet-config.v1).
type providerConfig struct {
	Kind       string     `json:"kind"`
	APIVersion string     `json:"apiVersion"`
	Providers  []provider `json:"providers"`
}

// provider is one credential provider: a program, and the images that it is for.
type provider struct {
	Name                 string     `json:"name"`
	MatchImages          []string   `json:"matchImages"`
	DefaultCacheDuration duration   `json:"defaultCacheDuration"`
	APIVersion           string     `json:"apiVersion"` // of its requests and answers
	Args                 []string   `json:"args"`
	Env                  []variable `json:"env"`
	TokenAttributes      any        `json:"tokenAttributes"` // set: it wants tokens of service accounts

	images []pattern // of MatchImages
}

// duration is a duration in JSON, "1h30m"; nil: none is given.
type duration struct{ *time.Duration }

func (d *duration) UnmarshalJSON(text []byte) error {
	quoted := strings.Trim(string(text), `"`)
	if quoted == "null" {
		return nil
	}
	v, err := time.ParseDuration(quoted)
	if err != nil {
		return errors.New("not a duration")
	}
	d.Duration = &v
	return nil
}

// matches reports whether the provider is for an image without tag.
func (p *provider) matches(image string) bool {
	return slices.ContainsFunc(p.images, func(i pattern) bool { return i.matches(image) })
}

// configFiles returns the files of a configuration: path itself, or of a directory those that
// end in .json, .yaml or .yml, in the order of their names.
func configFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path) // sorted
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && slices.Contains([]string{".json", ".yaml", ".yml"}, filepath.Ext(e.Name())) {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: no file of this directory ends in .json, .yaml or .yml", path)
	}
	if len(files) > maxConfigFiles {
		return nil, fmt.Errorf("%s: more than %d files", path, maxConfigFiles)
	}
	return files, nil
}

// readProviders returns the providers in files.
func readProviders(files []string) ([]*provider, error) {
	var all []*provider
	names := map[string]bool{}
	for _, file := range files {
		var c providerConfig
		if err := readDocument(file, &c); err != nil {
			return nil, err
		}
		version, ok := strings.CutPrefix(c.APIVersion, configGroup)
		if c.Kind != "CredentialProviderConfig" || !ok || !slices.Contains(providerVersions, version) {
			return nil, fmt.Errorf("%s: not a CredentialProviderConfig of a known version", file)
		}
		if len(c.Providers) == 0 {
			return nil, fmt.Errorf("%s: has no providers", file)
		}
		for i := range c.Providers {
			p := &c.Providers[i]
			err := p.check()
			if err == nil && names[p.Name] {
				err = errors.New("there is another provider with this name")
			}
			if err != nil {
				return nil, fmt.Errorf("%s: provider %q: %w", file, p.Name, err)
			}
			names[p.Name] = true
			all = append(all, p)
		}
	}
	return all, nil
}

// check checks p as kubelet does, and parses its patterns.
func (p *provider) check() error {
	version, ok := strings.CutPrefix(p.APIVersion, providerGroup)
	switch {
	case p.Name == "" || p.Name == "." || p.Name == ".." || strings.ContainsAny(p.Name, "/ "):
		return errors.New("not the name of a program")
	case !ok || !slices.Contains(providerVersions, version):
		return errors.New("apiVersion is not known")
	case len(p.MatchImages) == 0:
		return errors.New("matchImages is missing")
	case p.DefaultCacheDuration.Duration == nil || *p.DefaultCacheDuration.Duration < 0:
		return errors.New("defaultCacheDuration is missing, or negative")
	}
	for _, text := range p.MatchImages {
		i, err := parsePattern(text)
		if err != nil {
			return fmt.Errorf("matchImages: %q: %w", text, err)
		}
		p.images = append(p.images, i)
	}
	return nil
}
