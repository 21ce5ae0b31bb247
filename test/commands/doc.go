// Package commands tests ladle inspect, convert and index as they are called, with real
// registries and real images. It has no code.
package commands
