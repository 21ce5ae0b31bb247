// Package logtest collects what processes and loggers write during a test.
package logtest
