// Command critest runs the conformance tests of the Container Runtime Interface, critest of
// cri-tools, on containerd with overlayfs and with ladle, and compares them spec by
// spec. It prints how many specs passed in each set-up, and fails if one that passes with
// overlayfs does not pass with ladle.
//
// The images that critest asks for are not fetched from where they are: containerd's hosts
// directory leads their registries to one on this machine with stand-ins, which have
// busybox and the program of package standin.
//
// script/kube.sh builds what it needs, and runs it in namespaces of its own.
package main
