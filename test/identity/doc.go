// Package identity tells what a program in a container sees of the identity of
// files: st_dev, st_ino and st_nlink, whether they remain, and what programs make
// of them that rely on it.
//
// A report is what a program found, in a form that can be compared: overlayfs
// gives the same for the same image. The program is a Python script, so that it
// runs in an image's container and in a step of a build alike. While it runs the
// machine has to forget its dentries again and again.
package identity
