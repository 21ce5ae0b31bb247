// Package ztoctest makes ztocs, SOCI's indexes of gzip layers (package index, DecodeZtoc), for
// tests and benchmarks. Built and BuiltBlob are one that SOCI's own builder made, and its layer.
package ztoctest
