// Package kube has no code. Its module runs ladle below the programs of Kubernetes:
//
//   - kubelet has tests in which a real kubelet runs static pods on ladle,
//   - critest is a program that runs the conformance tests of cri-tools on overlayfs and
//     on ladle and compares them,
//   - standin is the one program of the images that these conformance tests pull,
//   - testdata/kubernetes is a module without code, from which script/kube.sh builds kubelet.
//
// All of it needs root, and a network namespace in which only the loopback interface is
// used. `make critest` and `make kubelet-tests` see to that; `make test` runs none of it,
// because Kubernetes takes ten minutes to build.
package kube
