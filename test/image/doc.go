// Package image makes the container images that the tests and benchmarks pull.
//
// A recipe is a named way to make an image: its layers as tar streams and its
// configuration. Recipes come from distribution packages (debian-python,
// debian-scipy), from one static program (busybox, shell, pause), or are written by
// hand to be difficult (hostile-*).
//
// A format is how the layers of an image are stored in a registry: plain gzip,
// eStargz with or without prioritized files, eStargz with an external TOC, or
// zstd:chunked. Every recipe can be had in every format; an image in a format
// other than Gzip is converted from the Gzip one, so both hold the same files.
//
// A cache keeps what was made, as one OCI image layout per image and format, so
// that the minutes are spent once per machine. Push puts an image of it in a registry,
// and Serve is a small one in this process.
package image
