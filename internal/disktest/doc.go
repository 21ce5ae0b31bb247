// Package disktest makes small filesystems for tests, and fills them up. It needs
// root and the mkfs programs.
package disktest
