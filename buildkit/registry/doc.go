// Package registry puts images made of layers of others in a registry, for
// tests and benchmarks.
package registry
