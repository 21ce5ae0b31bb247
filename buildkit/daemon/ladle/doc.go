// Package ladle lets a worker of BuildKit use the extensions of a ladle snapshotter to
// containerd's snapshots service (docs/protocol.md). With another snapshotter, BuildKit
// works unchanged.
//
// bin/ladle-buildkitd (see _buildkitd) replaces three functions of BuildKit and adds two:
//
//   - Merges. A MergeOp is requested from ladle, by labels on Prepare, and stacks existing
//     lowerdirs. BuildKit's own merge mounts, walks and copies its inputs.
//   - Lazy layers. A layer that a registry has becomes a lazy snapshot whenever BuildKit
//     looks up its snapshot. BuildKit itself tries that only if the snapshotter is called
//     "stargz", and not for layers below a diff. The key of the snapshot is derived from
//     the layer's blob and table of contents, and not only from the claims of its image.
//   - Copies. COPY --from of one path is requested from ladle, by labels on Prepare, and
//     makes hard links. If ladle refuses, BuildKit copies file by file. The digests of the
//     files, which are the key of BuildKit's build cache, are computed on all CPUs and
//     stored in BuildKit's cache of digests (contenthash).
//   - Lent credentials. Ladle can request, through a socket, the registry credentials of
//     the clients of builds and BuildKit's settings for registries. BuildKit uses both in
//     its own process only.
//   - Sources of lazy layers. The images from which a lazy layer can be read are stored
//     with its record in BuildKit's cache, so that records above it can be loaded at any
//     time. BuildKit itself knows only the sources of the running build, and deletes such
//     records otherwise (see _cache).
//
// # Terms
//
// A diff is a pair of snapshots, lower and upper. A key names a snapshot. A layer is
// announced when BuildKit's cache gets its descriptor from a manifest. A client is
// admitted to an image if the registry let BuildKit read the image's manifest with that
// client's credentials; the lender requests credentials only from admitted clients. If
// BuildKit read the manifest on behalf of several clients, each of them is supposed to be
// admitted; the lender reads the manifest once more, with the credentials of one, to find
// out.
//
// # Detecting ladle
//
// Neither a name nor an option identifies ladle. A Prepare with the label of a merge from
// an upper that does not exist fails with "not found" on a snapshotter that implements
// the label, and succeeds on every other. This is probed when a function first needs ladle,
// and before each merge: a snapshotter that ignores the labels would commit a snapshot
// without the merged content.
package ladle
