// Package commands tests ladle inspect and ladle convert as they are called, with real
// registries and real images. It has no code.
package commands
