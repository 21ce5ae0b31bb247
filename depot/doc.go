// Package depot reads images from where they are, and puts them there: a registry, or an
// OCI image layout on disk (OCI image specification, image-layout.md), for the commands
// that look at whole images.
//
// A reference names one image: "registry/repository:tag", or "oci:PATH:TAG". An origin is
// what an image is read from, a target is what one is written to. What an origin returns
// of manifests is verified. Of blobs it is not: a caller reads ranges, or hashes the whole.
//
// A target takes content in any order, and its name last: before that nobody sees an
// image.
package depot
