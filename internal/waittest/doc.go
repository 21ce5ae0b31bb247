// Package waittest waits in tests for conditions.
package waittest
