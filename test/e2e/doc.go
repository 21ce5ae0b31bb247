// Package e2e has no code: its tests run the daemon under containerd, with real
// images from a real registry, beside containerd's own overlayfs.
//
//	go test ./e2e                 everything; root, bin/ladle, script/components.sh
//	go test -short ./e2e          without the image that takes minutes
//	go test -run SameTree -v ./e2e    shows what is compared
package e2e
