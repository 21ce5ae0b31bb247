package auth

import (
	"maps"
	"slices"
	"strings"
)

// hubHost is the name under which a keyring has the credentials for Docker Hub.
const hubHost = "index.docker.io"

// keyring has logins by the patterns of images, as kubelet keeps those of credential providers
// and pull secrets. It is not changed any more when it is complete.
type keyring struct{ entries []keyringEntry } // sorted by name, the last one first

type keyringEntry struct {
	name    string // the text of the pattern
	pattern pattern
	login   Login
}

// newKeyring returns a keyring of logins by location: "host", "host/path", "https://host/v1/".
// Locations that are no patterns are left out.
func newKeyring(logins map[string]Login) keyring {
	var k keyring
	for _, location := range slices.Sorted(maps.Keys(logins)) {
		l := logins[location]
		name := keyringName(location)
		if p, err := parsePattern(name); err == nil {
			k.entries = append(k.entries, keyringEntry{name, p, l})
		}
	}
	k.sort()
	return k
}

// mergeKeyrings returns a keyring with the logins of all of rings.
func mergeKeyrings(rings []keyring) keyring {
	if len(rings) == 1 {
		return rings[0]
	}
	var k keyring
	for _, r := range rings {
		k.entries = append(k.entries, r.entries...)
	}
	k.sort()
	return k
}

// sort brings the longer one of two names with the same beginning to the front, and wildcards
// behind other characters. The logins of one name keep their order.
func (k keyring) sort() {
	slices.SortStableFunc(k.entries, func(a, b keyringEntry) int { return strings.Compare(b.name, a.name) })
}

// keyringName returns the name under which a keyring has a location: without the scheme, and
// without a leading /v1 or /v2 in the path, as Docker has them in its configuration.
func keyringName(location string) string {
	for _, scheme := range []string{"https://", "http://"} {
		if rest, ok := strings.CutPrefix(location, scheme); ok {
			location = rest
			break
		}
	}
	host, path, _ := strings.Cut(location, "/")
	path = "/" + path
	if strings.HasPrefix(path, "/v1/") || strings.HasPrefix(path, "/v2/") {
		path = path[len("/v1"):]
	}
	if path == "/" {
		return host
	}
	return host + path
}

// lookup returns the logins for an image without tag, the best one first. Those for Docker Hub
// count as those for its images if nothing else matches.
func (k keyring) lookup(image string) (found []Login) {
	for _, e := range k.entries {
		if e.pattern.matches(image) {
			found = append(found, e.login)
		}
	}
	if len(found) > 0 || !strings.HasPrefix(image, "docker.io/") {
		return found
	}
	for _, e := range k.entries {
		if e.name == hubHost {
			found = append(found, e.login)
		}
	}
	return found
}
