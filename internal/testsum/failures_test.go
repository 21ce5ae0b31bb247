package main

import (
	"fmt"
	"strings"
	"testing"
)

// A failed test is named at the end with what it said, without what daemons said and
// what went before.
func TestFailuresAreExplained(t *testing.T) {
	const logs = `t.Log("--- some daemon (/var/tmp/log)\nlevel=info msg=noise\n")`
	for title, test := range map[string]struct {
		body         string
		want, absent []string // after the line "failed:"
	}{
		"messages": {
			`func TestFail(t *testing.T) { t.Run("sub", func(t *testing.T) { ` + logs + "; t.Error(\"first\\nmiddle\\nlast\\n--- d (/x)\\nmore noise\"); t.Fatal(\"second\") }) }\n",
			[]string{"  example.test TestFail/sub\n      x_test.go:10: first\n          last\n      x_test.go:10: second\n"},
			[]string{"noise", "middle", "example.test TestFail\n", "---"},
		},
		"a long line": {
			"func TestFail(t *testing.T) { s := \"\"; for range 1000 { s += \"long\" }; t.Fatal(s) }\n",
			[]string{"longlong"}, []string{strings.Repeat("long", 126)},
		},
		"many lines": {
			"func TestFail(t *testing.T) { for i := range 30 { t.Log(\"number\", i) }; t.Fatal(\"why\") }\n",
			[]string{"number 4\n", "number 26\n", "why\n"}, []string{"number 5\n", "number 25\n"},
		},
		"panic": {
			"func TestOther(t *testing.T) {}\nfunc TestFail(t *testing.T) { panic(\"why\") }\n",
			[]string{"panic: why", "x_test.go:11"}, []string{"TestOther"},
		},
		"does not build": {"func TestFail(t *testing.T) { wrong }\n", []string{"x_test.go:10:31: undefined: wrong"}, nil},
		"by itself":      {"func TestFail(t *testing.T) { t.Fail() }\n", []string{"  example.test TestFail\n"}, nil},
	} {
		t.Run(title, func(t *testing.T) {
			out, ok := summarize(t, "", testFile(test.body))
			_, end, found := strings.Cut(out, "\nfailed:\n")
			end, _, _ = strings.Cut(end, "\nslowest:\n")
			if ok || !found {
				t.Fatalf("ok is %v, and the output:\n%s", ok, out)
			}
			for _, want := range test.want {
				if !strings.Contains(end, want) {
					t.Errorf("no %q in:\n%s", want, end)
				}
			}
			for _, absent := range test.absent {
				if strings.Contains(end, absent) {
					t.Errorf("%q in:\n%s", absent, end)
				}
			}
		})
	}
}

// However many tests fail, the end of the log names each of them with a reason.
func TestManyFailuresAreShort(t *testing.T) {
	var body strings.Builder
	const tests = 30
	for i := range tests {
		fmt.Fprintf(&body, "func TestFail%d(t *testing.T) { for range 20 { t.Log(\"before\") }; t.Fatal(\"why %d.\") }\n", i, i)
	}
	out, _ := summarize(t, "", testFile(body.String()))
	_, end, _ := strings.Cut(out, "\nfailed:\n")
	for i := range tests {
		if !strings.Contains(end, fmt.Sprintf("why %d.\n", i)) {
			t.Errorf("test %d does not say why:\n%s", i, end)
		}
	}
	if n := strings.Count(end, "\n"); n > 100 {
		t.Errorf("%d lines:\n%s", n, end)
	}
}
