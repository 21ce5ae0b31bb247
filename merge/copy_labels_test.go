package merge

import (
	"strings"
	"testing"
)

func TestParseCopy(t *testing.T) {
	for _, r := range []CopyRequest{
		{"key", "/", "/"}, {"ns/1/key with space", "/a/b", "/c/"}, {"key", "/..a/b c", "/é"},
	} {
		got, asked, err := ParseCopy(r.Labels())
		if err != nil || !asked || got != r {
			t.Errorf("labels of %+v: %+v, %v, %v", r, got, asked, err)
		}
	}
	if _, asked, err := ParseCopy(map[string]string{LabelPrefix + "0.upper": "a", "other": "b"}); asked || err != nil {
		t.Errorf("labels of no copy: %v, %v", asked, err)
	}
	for name, r := range map[string]CopyRequest{
		"no key": {"", "/a", "/b"}, "no source": {"k", "", "/b"}, "no target": {"k", "/a", ""},
		"relative": {"k", "a", "/b"}, "out of the root": {"k", "/../a", "/b"}, "dots in the target": {"k", "/a", "/b/./c"},
		"slash after the source": {"k", "/a/", "/b"}, "slashes": {"k", "/a", "/b//"}, "nul": {"k", "/a\x00b", "/b"},
		"long": {"k", "/" + strings.Repeat("a/", maxPath) + "a", "/b"},
	} {
		if _, asked, err := ParseCopy(r.Labels()); !asked || err == nil {
			t.Errorf("%s: %v, %v", name, asked, err)
		}
	}
	labels := CopyRequest{"k", "/a", "/b"}.Labels()
	labels[CopyPrefix+"owner"] = "1"
	if _, asked, err := ParseCopy(labels); !asked || err == nil {
		t.Errorf("a label that is not known: %v, %v", asked, err)
	}
}
