// Package settle decides which snapshots of an endpoint may share inodes, and records
// which of them do.
//
// Two things make snapshots share inodes. A snapshot settles: some time after it was
// committed, and while nothing shows it, files of its directory become hard links to
// equal files of other snapshots (package hardlink). A copy is made with hard links to
// files of another snapshot (package merge). Neither may be noticed: no mount shows two
// names of one inode that were not hard links before, and no program finds that a file
// below it has another time of change or more names than a moment ago.
//
// # Words
//
// Snapshots are known by number (containerd's core/snapshots/storage counts them from 1
// and uses no number twice).
//
//   - A member is a committed snapshot with a directory of its own, which nothing but
//     package hardlink changes. Only members settle.
//   - A View is an active snapshot or a view of containerd's: what clients mount. It
//     shows the directories of members, and directories of links, which have inodes of
//     members (hardlink.Sources).
//   - Partners are two snapshots that share an inode, or may. A mount that showed both
//     would show hard links that neither has.
//
// # States of a member
//
// A member can be in several of these states, but not both running and linking:
//
//   - Shown: a View shows the member's directory, or did within Options.After, because
//     clients unmount later than they remove snapshots; or a call in progress reads the
//     directory (Snapshots.Pinned). The worker replaces no file of a member that is shown.
//     One that is not is free.
//   - Running: programs may run in a View that shows inodes of the member. Such a View is
//     an active snapshot and no copy. A copy adds no name to a file of a running member: a
//     program that reads the file would see its time of change move (GNU tar ends with
//     "file changed as we read it"). Views that are read-only do not count: BuildKit keeps
//     one of each snapshot that it has computed digests of.
//   - Linking: a copy is adding names to files of the member. Link refuses members that
//     are running. A Prepare that makes a linking member running waits until the copy has
//     its links, before it returns mounts (WaitLinked).
//
// A free member becomes shown within Make, which waits while files are being replaced: a
// few links at a time (hardlink.Members, Hold).
//
// A merge can show members together that no View and no other snapshot did. Its Prepare
// pins them, so that they are not free, and calls MustBeApart, which waits for
// replacements that began before the pins, and tells which of the merge's diffs have
// partners below them: these must be made of copies of files, not of links.
//
// # Locks
//
// They are taken in this order:
//
//  1. the lock of a snapshot's key (package snapshot), and that of a clean diff (package
//     stack)
//  2. LockNames, from before a copy is looked for until its partners are on disk
//  3. Sharing.replacing: for reading from before the transaction that makes a snapshot
//     until its View is noted; for writing while files are replaced, and while partners
//     of removed snapshots are deleted
//  4. a transaction of the metadata (Snapshots.List, Snapshots.Sync)
//  5. one of shown.mu, partners.mu, and what Snapshots.Pinned locks; never two of them.
//     (Open, beside which nothing runs, may list snapshots under partners.mu.)
//
// The worker is one goroutine; what only it has is in Worker and members, without a lock.
//
// # After a crash
//
// partners.db, a bbolt database that is synced, has the partners of an endpoint. An entry
// is on disk before two members share an inode by settling. That a snapshot is a copy is
// stored in the transaction that makes it, with the snapshots that it has links to
// (Copied); its entry follows, and when a process ends between the two, the next one
// calls Begin with the same Copied, which makes up for it. Entries go after their
// snapshots are gone, and that is on disk (Snapshots.Sync). So after a crash of the
// process or the machine there can be entries of snapshots that share no inode or do not
// exist, and none is missing.
//
// partners.db is made when an endpoint is opened for the first time. If it is damaged, or
// missing although there are snapshots (deleted, or the endpoint is of a version that made
// it later), it is replaced by one in which all snapshots that exist are partners of each
// other: a merge that shows two of these is made of copies of the files of one, for as long
// as both exist. Without space for it that is so in memory, and again at the next start.
//
// Directories whose time of modification was changed by an interrupted worker get it back
// in OpenWorker (package hardlink).
package settle
