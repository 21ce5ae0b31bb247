package auth

import (
	"slices"
	"strings"
	"testing"
)

// Patterns match as in kubelet: wildcards in parts of the host, the same port, a prefix of
// the path.
func TestPattern(t *testing.T) {
	for _, c := range []struct {
		pattern, image string
		want           bool
	}{
		{"registry.example", "registry.example/a", true},
		{"registry.example", "registry.example:5000/a", false},
		{"registry.example:5000", "registry.example:5000/a", true},
		{"registry.example:5000", "registry.example/a", false},
		{"*.example", "registry.example/a", true},
		{"*.example", "a.registry.example/a", false},
		{"*.*.example", "a.registry.example/a", true},
		{"*.example", "example/a", false},
		{"reg*.example", "registry.example/a", true},
		{"reg*.example", "other.example/a", false},
		{"*.dkr.ecr.*.amazonaws.com", "1234.dkr.ecr.eu-west-1.amazonaws.com/team/app", true},
		{"*.dkr.ecr.*.amazonaws.com", "1234.dkr.ecr.eu-west-1.amazonaws.com.cn/team/app", false},
		{"registry.example/team", "registry.example/team/app", true},
		{"registry.example/team", "registry.example/teams/app", true}, // a prefix of the text
		{"registry.example/team/", "registry.example/teams/app", false},
		{"registry.example/team", "registry.example/other/app", false},
		{"registry.example/*", "registry.example/team/app", false},
		{"*", "registry/a", true},
		{"*", "registry.example/a", false},
		{"[2001:db8::1]:5000", "[2001:db8::1]:5000/a", true},
		{"registry.example.evil", "registry.example/a", false},
		{"registry.example", "registry.example.evil/a", false},
	} {
		p, err := parsePattern(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		if got := p.matches(c.image); got != c.want {
			t.Errorf("%s matches %s: %v", c.pattern, c.image, got)
		}
	}
	for _, text := range []string{"registry.example:port", "%zz", "[a", "regi[stry.example"} {
		if _, err := parsePattern(text); err == nil {
			t.Errorf("%q is a pattern", text)
		}
	}
}

// The most specific login comes first, whatever the order of the entries is.
func TestKeyring(t *testing.T) {
	logins := map[string]Login{}
	for _, location := range []string{
		"registry.example", "registry.example/team", "registry.example/team/app", "*.example", "https://registry.example/v1/",
		"http://registry.example/v2/team", "other.example", "https://index.docker.io/v1/", "registry.example:5000", "%zz",
	} {
		logins[location] = Login{User: location, Secret: "s"}
	}
	k := newKeyring(logins)
	for image, want := range map[string]string{
		"registry.example/team/app":  "registry.example/team/app http://registry.example/v2/team registry.example/team https://registry.example/v1/ registry.example *.example",
		"registry.example/x":         "https://registry.example/v1/ registry.example *.example",
		"third.example/x":            "*.example",
		"registry.example:5000/team": "registry.example:5000",
		"docker.io/library/a":        "https://index.docker.io/v1/",
		"quay.io/a":                  "",
		"other.example/x":            "other.example *.example",
	} {
		var got []string
		for _, l := range k.lookup(image) {
			got = append(got, l.User)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %s, want %s", image, strings.Join(got, " "), want)
		}
	}
	more := mergeKeyrings([]keyring{newKeyring(map[string]Login{"registry.example/team": {User: "m", Secret: "s"}}), k})
	got := more.lookup("registry.example/team")
	if i := slices.IndexFunc(got, func(l Login) bool { return l.User == "m" }); i != 0 || len(got) != 6 {
		t.Errorf("%d of %d", i, len(got))
	}
}

func FuzzPattern(f *testing.F) {
	f.Add("*.dkr.ecr.*.amazonaws.com", "1234.dkr.ecr.eu-west-1.amazonaws.com/team/app")
	f.Add("registry.example:5000/a", "registry.example:5000/a/b")
	f.Add("[::1]:80", "[::1]:80/a")
	f.Fuzz(func(t *testing.T, text, image string) {
		p, err := parsePattern(text)
		if err != nil || !p.matches(image) {
			return
		}
		host, _, _ := strings.Cut(image, "/")
		if !strings.ContainsAny(text, `*?[]\%/@#`) && !strings.ContainsAny(image, `%@?#\`) && host != text {
			t.Errorf("%q matches %q", text, image)
		}
	})
}
