// Package metrics declares the daemon's metrics. Base units are seconds and bytes, label
// values come from closed sets, and nothing is global: cmd/snapshotter makes one Metrics and
// passes its collectors on.
//
// A collector has the metrics of one topic: a pointer to a struct with a method for each
// event. All methods may be called concurrently, and do nothing on a nil collector: packages
// have collectors in their options, and with a nil one they count nothing.
//
// The values of a label are constants of a type of their own. No value is a name from outside
// (digest, host, image), so that the number of series does not depend on the number of
// images.
package metrics
