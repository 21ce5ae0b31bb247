package main

import (
	"encoding/xml"
	"fmt"
	"os"
	"slices"
	"strings"
)

// specs are the results of the specs of one run: "passed", "failed", "skipped" and what
// else ginkgo calls them, by the spec's whole name.
type specs map[string]string

// readSpecs reads a report in the format of JUnit, as ginkgo writes it. What is not a
// spec, such as the preparation of the suite, is left out, but for what failed.
func readSpecs(file string) (specs, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("critest: %w", err)
	}
	var report struct {
		Cases []struct {
			Name   string `xml:"name,attr"`
			Status string `xml:"status,attr"`
		} `xml:"testsuite>testcase"`
	}
	if err := xml.Unmarshal(data, &report); err != nil {
		return nil, fmt.Errorf("critest: %s: %w", file, err)
	}
	all := specs{}
	for _, c := range report.Cases {
		name, isSpec := strings.CutPrefix(c.Name, "[It] ")
		if isSpec || c.Status == failed {
			all[name] = c.Status
		}
	}
	return all, nil
}

const (
	passed = "passed"
	failed = "failed"
)

func (s specs) count(status string) (n int) {
	for _, is := range s {
		if is == status {
			n++
		}
	}
	return n
}

// worse lists the specs that passed in oracle and did not pass in s, with what they did.
func (s specs) worse(oracle specs) (names []string) {
	for name, status := range oracle {
		if is := s[name]; status == passed && is != passed {
			if is == "" {
				is = "did not run"
			}
			names = append(names, name+": "+is)
		}
	}
	slices.Sort(names)
	return names
}
