// Package metastore stores the metadata of an endpoint's snapshots: containerd's
// MetaStore (core/snapshots/storage), a bbolt database, without waiting for the disk.
//
// A client of an endpoint holds a transaction of its own while it waits for a call.
// Therefore transactions are written to the database and not synced. The writes of a killed
// process are in the page cache, in order: nothing is lost. After a reset of the machine any
// subset of them can be on disk. For that the whole database is copied soon after each
// transaction; the copy is synced and renamed to the saved file, which always equals the
// database after some transaction. After a reset the saved file replaces the database. The
// transactions between the last copy and the reset are lost then, most often some
// milliseconds.
//
// Files in the directory of a store:
//
//	metadata.db          the database, not synced
//	metadata.saved       a copy of it, synced, and a checksum (inspect.go)
//	metadata.state       the boot id under which the database is in use, or "closed"
//	*.new                standbys of the last two (package durable)
//	*.damaged            a damaged one of these three, after it was replaced
//
// # States and order
//
// A store is in use or closed, and transactions are synced one by one or not at all.
//
// In use, not synced, is the usual state. The saved file is made before the state file
// has this boot id, and the directories that the saved file names entries of (Options.Named)
// are synced before it is renamed.
//
// In use, each transaction synced, is the state on a full disk on which no space was set
// aside for a saved file. There is no saved file: it is removed when the database is on
// disk. It is made as soon as there is space for it, and from the next start on
// transactions are not synced one by one.
//
// Closed: the saved file is as new as the database, unless there was no space for it, and
// the database is synced, before the state file says so.
//
// Space is set aside so that snapshots can be removed, and looked at, on a full disk: the
// database has blocks behind its end, and the other two files have standbys.
//
// # Locks
//
// The turn of the saved file (Store.saving) is taken before a transaction of the database. It
// is never taken within one. A save copies the database in a writable transaction: other
// writable transactions wait for the copy, but not for the disk.
//
// # Damage
//
// Open checks the files, which can have been damaged while no process had the store open:
// cut, changed, emptied, deleted, replaced by a directory. A database is opened with bbolt
// only when its structure was found to be sound: some others end the process by a panic or a
// fault.
//
//	database      saved file          state file            opened with
//	any           whole, newer        any                   saved file
//	whole         as new, equal       of this boot, closed  database
//	whole         as new, different   of this boot, closed  saved file, which has a checksum
//	whole         older, damaged      of this boot, closed  database
//	whole         missing             any                   database: it was synced
//	whole         whole               any other             saved file
//	not whole     whole               any                   saved file
//	whole         damaged             any other             ErrDamaged
//	not whole     missing             missing               nothing: a new store
//	not whole     missing, damaged    any other             ErrDamaged
//
// A database is not whole, either, if a later version of the format wrote it. If it is
// therefore that there is nothing to open with, the error is durable.ErrLaterFormat.
//
// If no snapshot is known then, and there are directories of snapshots (Options.Orphans),
// it is an ErrDamaged, too: a sweep would delete them. Before one of these errors is
// returned nothing is changed.
package metastore
