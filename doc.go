// Package ladle has the files that an installation consists of besides the program: where the
// repository has them is where they are edited.
package ladle
