// Package kubelet runs a real kubelet on a node of package stack, without a cluster: it
// runs static pods, whose files lie in a directory, and is asked by its HTTP API. Its
// tests show what pods on ladle do when parts of the node are restarted, killed or taken
// away.
//
// script/kube.sh builds kubelet and runs the tests, in namespaces of their own.
package kubelet
