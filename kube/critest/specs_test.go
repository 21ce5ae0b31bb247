package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

const junit = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="5"><testsuite name="CRI validation" tests="5">
<testcase name="[BeforeSuite]" status="passed"></testcase>
<testcase name="[It] one" status="passed"></testcase>
<testcase name="[It] two [Conformance]" status="failed"><failure message="x"></failure></testcase>
<testcase name="[It] three" status="skipped"></testcase>
<testcase name="[AfterSuite]" status="failed"></testcase>
</testsuite></testsuites>`

// What the oracle passes has to be passed: a spec that failed, was skipped or is missing
// was not. What the oracle does not pass need not be.
func TestReportsAreCompared(t *testing.T) {
	file := filepath.Join(t.TempDir(), "junit.xml")
	if err := os.WriteFile(file, []byte(junit), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := readSpecs(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 4 || got.count(passed) != 1 || got.count(failed) != 2 {
		t.Errorf("read %v", got)
	}
	oracle := specs{"one": passed, "two [Conformance]": passed, "three": passed, "four": passed, "five": failed}
	want := []string{"four: did not run", "three: skipped", "two [Conformance]: failed"}
	if worse := got.worse(oracle); !slices.Equal(worse, want) {
		t.Errorf("worse are %q, want %q", worse, want)
	}
}
