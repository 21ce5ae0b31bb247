package control

import (
	"time"

	"github.com/opencontainers/go-digest"
)

// StatusRequest is the message of Service.Status.
type StatusRequest struct{}

// Status is what a daemon is, has and does. Sizes are in bytes.
type Status struct {
	Schema    int        `json:"schema"` // 1
	Process   Process    `json:"process"`
	Driver    Driver     `json:"driver"`
	Endpoints []Endpoint `json:"endpoints"`
	Store     Store      `json:"store"`
	Imports   []Import   `json:"imports"`  // in progress, the oldest first
	Failures  []Failure  `json:"failures"` // of imports since the start, the newest first, a few
	Layers    []Layer    `json:"layers"`   // in the store, the oldest first
}

// Process is the process of the daemon.
type Process struct {
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
}

// Driver is how trees are mounted.
type Driver struct {
	Name   string `json:"name"`
	Reason string `json:"reason"` // for its choice
}

// Endpoint is a socket with snapshots of its own. The numbers are of snapshots.
type Endpoint struct {
	Name      string `json:"name"`
	Address   string `json:"address"`
	Committed int    `json:"committed"`
	Remote    int    `json:"remote"` // of the committed ones: layers that are read lazily, or were imported
	Active    int    `json:"active"`
	Views     int    `json:"views"`
}

// Store is the directory of all layers.
type Store struct {
	Root    string `json:"root"`    // of all state
	Stored  int64  `json:"stored"`  // layers and tree images on disk; up to a minute old
	Free    int64  `json:"free"`    // of the filesystem
	Reserve int64  `json:"reserve"` // of these, what is to stay free of what nobody asked for
	Partial int64  `json:"partial"` // fetched for imports that are not done, or were interrupted
}

// Import is an import that waits or is in progress.
type Import struct {
	Image   string        `json:"image"`
	Layer   digest.Digest `json:"layer"`           // the blob
	Size    int64         `json:"size"`            // of the blob
	Done    int64         `json:"done"`            // of these, what is fetched and decompressed
	Since   *time.Time    `json:"since,omitempty"` // none while it waits for others
	Waiting int           `json:"waiting"`         // calls that wait for it
}

// Rate returns the bytes a second that an import has made of its blob on average until now.
func (i Import) Rate(now time.Time) int64 {
	if i.Since == nil || !now.After(*i.Since) {
		return 0
	}
	return int64(float64(i.Done) / now.Sub(*i.Since).Seconds())
}

// Failure is an import that failed.
type Failure struct {
	Image  string        `json:"image"`
	Layer  digest.Digest `json:"layer"` // the blob
	Time   time.Time     `json:"time"`
	Reason string        `json:"reason"`
}

// Layer is a layer of the store.
type Layer struct {
	Number  uint64        `json:"number"`
	Layer   digest.Digest `json:"layer"`   // the blob
	Images  []string      `json:"images"`  // that have it, the newest first
	Size    int64         `json:"size"`    // of its files, uncompressed
	Stored  int64         `json:"stored"`  // on disk, with the index
	Chunks  int           `json:"chunks"`  // of the layer
	Present int           `json:"present"` // of these, on disk
	Open    bool          `json:"open"`    // in use
	Filling bool          `json:"filling"` // the background fetch works on it
}

// Full reports whether all chunks of the layer are present.
func (l Layer) Full() bool { return l.Present == l.Chunks }
