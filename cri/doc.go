// Package cri is a proxy of containerd's CRI image service, and keeps the credentials of the
// pulls that pass it.
//
// kubelet sends the credentials of an image with its request to pull it
// (runtime.v1.ImageService/PullImage), and containerd passes none on to a snapshotter. kubelet
// that has the proxy as its imageServiceEndpoint sends them through ladle.
//
//	kubelet ──▶ Proxy ──▶ containerd ──▶ Prepare ──▶ fetch of a layer ──▶ registry
//	              │                                         │ challenge
//	              └──── PullImage: login ──▶ Credentials ◀──┘
//
// # The proxy
//
// A Proxy passes on every call of a service of CRI, to methods that this version does not know,
// too: messages are not decoded, but for the request of PullImage, of which six fields are
// read. The caller's deadline, cancellation and metadata reach containerd, and the headers,
// messages, trailers and status with details of containerd reach the caller, without a change
// but for the user agent, which is that of gRPC in this process.
//
// # Credentials
//
// A login is for a place: one repository on one registry host. The host is the one of the
// image's name, or the server address in the request. Mirrors get none of it.
//
// A login is used from the moment on at which the request of the pull is there, before
// containerd gets it, since containerd calls Prepare during the pull. What comes of it depends
// on the outcome:
//
//	the pull succeeds              it replaces the earlier login of the place, and is sealed
//	                               before the caller gets the answer
//	it fails with unauthorized     it is dropped; the earlier login stays
//	it fails in another way        it is used after the earlier one, until the process ends
//
// A place is forgotten when nothing is left to fetch from its repository: see Wants.
//
// # On disk
//
//	DIR/key            "ladle cri key 1\n" and 32 bytes, made once, mode 0600
//	DIR/logins/NAME    the sealed login of one place; NAME is the sha256 of the place
//
// A sealed login is "ladle cri login 1\n", a nonce of 12 bytes, and JSON sealed by AES-256-GCM
// (NIST SP 800-38D) with the key. The first line and NAME are authenticated, so that a file
// does not count under another name. Files are replaced whole (package durable).
//
// A file that cannot be opened, since it is damaged or the key is another one, is removed with a
// warning: the next pull brings the login again. Files of a later version stay, and are not
// used. A key that others than its owner can read is replaced, and what was sealed with it is
// lost. Without a key, as on a full disk, logins are kept in memory only.
//
// Who can read the key, which is root, can read the logins. Sealing keeps them out of backups
// and images of the other files, and out of what is searched for secrets.
//
// # Bounds
//
// 512 places, of which the one whose last pull is longest ago is forgotten first; 32 KiB for the
// fields of a login; 16 MiB for a message, as containerd and kubelet have it; 256 calls in
// progress for each connection.
package cri
