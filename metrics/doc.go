// Package metrics declares what the daemon counts. Base units are seconds and
// bytes, label values come from closed sets, and nothing is global: whoever
// wires the daemon makes one Metrics and hands it down.
//
// A collector is one topic that is counted: a pointer to a struct whose
// methods say what happened. All methods may be called concurrently, and on a
// nil collector, where they do nothing: packages take collectors in their
// options, and a zero option is a package that is not counted.
//
// A label's values are constants of a type of its own. None is a name that
// comes from outside (digests, hosts, images): a registry of ten thousand
// images has as many series as one of ten.
package metrics
