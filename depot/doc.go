// Package depot reads images from where they are, and puts them there: a registry, or an
// OCI image layout on disk (OCI image specification, image-layout.md), for the commands
// that look at whole images.
//
// A reference names one image: "registry/repository:tag", or "oci:PATH:TAG". An origin is
// what an image is read from, a target is what one is written to. What an origin returns
// of manifests is verified. Of blobs it is not: a caller reads ranges, or hashes the whole.
//
// An artifact refers to an image without being a part of it, which keeps its digest. Here it
// is one with the indexes of the image's layers (package index). An attachment is where
// artifacts of an image are put: beside the image, in the list of what refers to it. That is
// what a registry's referrers API returns (OCI distribution specification 1.1), and where there
// is none, and in a layout, an index with a tag that is the image's digest.
//
// A target takes content in any order, and its name last: before that nobody sees an
// image.
package depot
