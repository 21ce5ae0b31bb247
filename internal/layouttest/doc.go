// Package layouttest writes OCI image layouts, for tests of what reads images.
package layouttest
