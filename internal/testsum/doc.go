// Command testsum runs the tests of several modules and sums them up: a line
// for each package, the output of what failed, and at the end how long each module
// took, each test that failed with the lines in which it says why, the ten tests that
// took longest, every test that was skipped, with the reason, and the line "N passed, N
// failed, N skipped".
//
// Usage:
//
//	testsum [-noskip REGEXP] [-race PACKAGES] MODULE-DIR[+MODULE-DIR...]... [-- FLAGS-OF-GO-TEST...]
//
// Modules that are joined by + run side by side, all others one after the other. Before
// them the short tests of PACKAGES, separated by spaces, of the first module run with the
// race detector.
//
// It exits with 1 if a test or package failed, if no test ran, or if a test
// was skipped for a reason that matches REGEXP.
package main
