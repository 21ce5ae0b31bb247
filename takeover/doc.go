// Package takeover passes the mounts and the sockets of the daemon from one
// process of its service to the next, so that containers and clients of
// containerd see no more of a restart than a pause.
//
// All trees stand on one FUSE connection, which lives as long as any process has
// its descriptor. So systemd gets a copy (its file descriptor store,
// sd_pid_notify_with_fds(3)) as soon as the connection is there. The process can
// then end at any time and in any way: the kernel keeps the requests of readers,
// and the next process of the unit is passed the descriptor (sd_listen_fds(3)),
// and serves the connection. The terms of a connection are what a process has to
// know, and to agree to, for that. The same goes for the sockets of endpoints:
// clients wait in their backlog while there is no process.
//
// The predecessor of a process is the process of the unit before it, and its
// successor the one after it. What a process was passed is inherited.
//
// # What systemd stores
//
//	ladle-fuse           the FUSE connection, a descriptor of /dev/fuse
//	ladle-terms          a memory file with its terms, as JSON: see terms
//	ladle-proof          one end of a pipe: see proof
//	ladle-endpoint-NAME  the listening socket of an endpoint; or of the control service or
//	                     the proxy of CRI's image service, with ControlEndpoint or
//	                     ImageServiceEndpoint as its NAME
//
// Names and terms are a protocol between versions of ladle. A connection of another
// format (fs.ConnectionFormat, a field of its terms) is refused.
//
// # States of an inherited connection
//
//	          Receive                    Mounts.Serve
//	(nothing) ───────▶ waiting ────────────────────────▶ claimed ─────▶ served
//	                      │ incomplete, terms unreadable,    │ Server.TakeOver
//	                      │ other terms, aborted by the      │ fails
//	                      │ kernel, or takeoverTimeout       │
//	                      ▼                                  ▼
//	                   refused ◀─────────────────────────────┘
//
// While it is waiting, no process serves it and readers wait. A refused connection is
// removed from systemd's store and closed, on which the kernel ends it and readers get
// errors; Mounts.Serve then makes a new one and puts it into the store. One that is
// taken over stays there.
//
// # Messages
//
//	predecessor → systemd    connection, terms, sockets, when it makes them
//	systemd → this process   all of that, when it starts
//	this process → terms     since when readers wait, until it serves them
//	this process → kernel    send the requests again that were not answered (package fs)
//	this process → systemd   proof, when it serves; remove, when it refuses
//
// Whether to leave anything to a successor is the caller's decision, as only a
// signal tells a restart from a stop: it leaves the mounts if Mounts.Stored says
// so, or else unmounts and calls Withdraw on Mounts and Sockets.
//
// # Timeouts
//
//	takeoverTimeout   one minute, from the start of the first successor until one serves
//	                  the connection. The terms have when it began, so that
//	                  successors that fail do not make it longer.
//	no successor      what the unit says: script/ladle.service has systemd give up
//	                  within three minutes, and close what it stores.
//	requests for trees that are not mounted again yet: thirty seconds (package fs)
//
// # What happens at each failure
//
//	the unit stores nothing (no systemd, no   Mounts.Stored is false: a stop unmounts, and
//	FileDescriptorStoreMax), or has no room   readers get errors if the process is killed
//	a connection cannot be put there          the same, and a warning says why
//	a socket cannot be put there              calls fail between two processes; a warning
//	the connection is refused                 readers get errors, the log says why; the
//	                                          trees are mounted anew
//	a new connection cannot be made           Mounts.Serve fails, the process ends
//	the process ends before Mounts.Serve      the connection stays in systemd's store and
//	                                          waits for the next, within takeoverTimeout
//	terms cannot be written after takeover    served, but the next process refuses it if it
//	                                          comes later than takeoverTimeout: a warning
//	the kernel cannot send requests again     TakeOver fails: refused
//	(before Linux 6.9)
//
// Limitations: it takes systemd's store, or one like it, and processes that follow
// each other: a process that starts while its predecessor still serves would get
// part of the requests.
package takeover
