package takeover

import (
	"reflect"
	"testing"
	"time"
)

// TestTermsOfOtherVersions reads what other versions of ladle have written or may
// write.
func TestTermsOfOtherVersions(t *testing.T) {
	for text, want := range map[string]terms{
		`{"format":1,"root":"/var/lib/ladle","driver":"erofs","init":"AQID"}`: {
			Terms: Terms{1, "/var/lib/ladle", "erofs"}, Init: []byte{1, 2, 3}},
		`{"format":1,"root":"/r","driver":"loop","init":"","waiting":1500000000,"later":[1]}`: {
			Terms: Terms{1, "/r", "loop"}, Init: []byte{}, Waiting: 1500 * time.Millisecond},
	} {
		f, err := newTermsFile(terms{Init: make([]byte, 1000)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte(text), 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(int64(len(text))); err != nil {
			t.Fatal(err)
		}
		got, err := readTerms(f)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is read as %+v, %v", text, got, err)
		}
		f.Close()
	}
}

// TestTermsAreRewritten writes longer and shorter terms to one file.
func TestTermsAreRewritten(t *testing.T) {
	f, err := newTermsFile(terms{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, want := range []terms{
		{Terms: Terms{1, "/root", "fuse"}, Init: []byte{1}, Waiting: time.Hour},
		{Terms: Terms{1, "/root", "fuse"}, Init: []byte{1}},
		{Terms: Terms{1, "/", "fuse"}, Init: []byte{}, Waiting: 1},
	} {
		if err := want.write(f); err != nil {
			t.Fatal(err)
		}
		if got, err := readTerms(f); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v is read as %+v, %v", want, got, err)
		}
	}
}

// TestTooLongTerms does not read for ever.
func TestTooLongTerms(t *testing.T) {
	f, err := newTermsFile(terms{Init: make([]byte, maxTerms)})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := readTerms(f); err == nil {
		t.Errorf("read as %d bytes of INIT", len(got.Init))
	}
}

func TestTermsDiffer(t *testing.T) {
	of := Terms{Format: 1, Root: "/root", Driver: "erofs"}
	for _, test := range []struct {
		wanted Terms
		why    string
	}{
		{Terms{1, "/root", "erofs"}, ""},
		{Terms{1, "/root", "auto"}, ""},
		{Terms{1, "/root", ""}, ""},
		{Terms{1, "/root", "fuse"}, "its driver is erofs, and now it is fuse"},
		{Terms{1, "/other", "auto"}, "its root is /root, and now it is /other"},
		{Terms{2, "/root", "erofs"}, "it is of format 1, and this version of ladle has 2"},
	} {
		err := of.differ(test.wanted)
		if err == nil && test.why != "" || err != nil && err.Error() != test.why {
			t.Errorf("from %+v it differs in %v, want %q", test.wanted, err, test.why)
		}
	}
}
