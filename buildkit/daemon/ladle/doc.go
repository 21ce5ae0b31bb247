// Package ladle makes a worker of BuildKit use what a ladle snapshotter can do
// besides containerd's protocol. With any other snapshotter, nothing changes.
//
// Three things of BuildKit are replaced, by bin/ladle-buildkitd (see _buildkitd),
// and two are added:
//
//   - A merge of diffs is asked of ladle, by labels on Prepare, and is a stack
//     of what is there. BuildKit's own merge mounts, walks and copies.
//   - A layer that the registry has is lazy whenever BuildKit looks for its
//     snapshot. BuildKit itself tries that only if the snapshotter is called
//     "stargz", and not for what lies below a diff. Its snapshot is named by its
//     blob and table of contents, not by what its image claims alone.
//   - A copy of one path from stage to stage is asked of ladle, by labels on
//     Prepare, and is links. BuildKit's own copies file by file, and does still
//     if ladle declines. The digests of the files, which are the key of its cache,
//     are found out on all processors and told to BuildKit's cache of digests.
//   - The registry credentials of the clients of builds are lent to ladle, by a
//     socket, and what BuildKit's configuration says of registries. BuildKit uses
//     them in its own process only.
//   - Where a lazy layer can be read from is kept with its record in BuildKit's cache,
//     so that what lies above it can be had at any time. BuildKit itself knows only
//     what the sources of the running build say, and drops such records elsewhere
//     (see _cache).
//
// The words: a diff is a pair of snapshots, what upper has over lower; a key
// names a snapshot. A layer is announced by BuildKit's cache when it learns of
// it from a manifest. A client is admitted to an image when the registry let
// BuildKit read the image's manifest with that client's credentials; a lender
// (package auth of ladle, which has the protocol) asks only those. A client is
// supposed to be, if it is one of several for whom BuildKit read it; the lender
// reads it once more with that client's credentials to know.
//
// # Who is ladle
//
// No name and no option says so. A Prepare with the label of a merge whose
// upper does not exist fails with "not found" on a snapshotter that knows the
// label, and succeeds on every other. That is asked when it first matters, and
// before each merge: a snapshotter that came to ignore the labels would commit
// a snapshot without the merged content.
package ladle
