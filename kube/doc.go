// Package kube has no code. Its module runs ladle below the programs of Kubernetes:
//
//   - critest is a program that runs the conformance tests of cri-tools on overlayfs and
//     on ladle and compares them,
//   - standin is the one program of the images that these conformance tests pull.
//
// They need root, and a network namespace in which only the loopback interface is used.
// `make critest` sees to that; `make test` does not run it.
package kube
