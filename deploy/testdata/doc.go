// Command testdata reads Kubernetes objects in YAML from standard input, as `helm template`
// prints them, and compares them with the types of Kubernetes: a field that a type does not
// have, a value of another type, or a kind that is not known is an error. So is a pod in
// which something else than `ladle install` runs: the daemon belongs on the host.
//
// script/chart-tests.sh runs it over all that the chart makes. It is a module of its own for
// the types' sake.
package main
