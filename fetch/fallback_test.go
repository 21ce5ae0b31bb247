package fetch

import (
	"errors"
	"net/http"
	"slices"
	"testing"
)

// answers is a network: what comes of a request to an address.
type answers map[string]error

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	err, ok := a[r.URL.String()]
	if !ok {
		err = errors.New("connection refused")
	}
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Request: r, Body: http.NoBody}, nil
}

// A host that once was slow is not asked by plain HTTP for ever, and no other
// host is.
func TestFallback(t *testing.T) {
	slow := errors.New("net/http: TLS handshake timeout")
	network := answers{}
	f := newFallback("a.example", network)
	works := func(address string) bool {
		t.Helper()
		r, err := http.NewRequest(http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.RoundTrip(r)
		return err == nil
	}
	var got []bool
	network["https://a.example/"] = slow
	got = append(got, works("https://a.example/"))
	network["https://a.example/"] = nil
	got = append(got, works("https://a.example/"))
	network["https://a.example/"], network["http://a.example/"] = slow, nil
	got = append(got, works("https://a.example/"))
	network["https://a.example/"] = errors.New("it is not asked")
	got = append(got, works("https://a.example/"))
	network["https://token.example/"], network["http://token.example/"] = slow, nil
	got = append(got, works("https://token.example/"))
	if want := []bool{false, true, true, true, false}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
