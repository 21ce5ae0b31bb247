// Package auth finds the credentials for a registry host: those that the client
// of a build lends, and those in Docker's configuration file and the credential
// helpers that it names.
//
// Credentials are looked up each time they are needed, so that a renewed
// login or a short-lived token takes effect without a restart or a remount.
//
// An offer says that a lender will be asked for the credentials of one
// repository. A lender is a process that serves a unix socket, as bin/ladle-buildkitd
// does for the clients of its builds; a borrower is who asks. Nothing that was
// lent is written to disk or to the log.
//
// # The protocol of lenders
//
// A client of the snapshotter makes an offer with a label on the Prepare that
// asks for a layer (containerd's snapshots service):
//
//	containerd.io/snapshot/ladle.credentials = PATH of the socket
//
// It is for the repository of the image that the other labels of the Prepare
// name: "registry.example:5000/group/name", without tag and digest. The label
// holds no secret, and the path should be the same after a restart of the
// lender, since snapshots keep it.
//
// The path is absolute and ends in "/credentials.ladle", so that no label, some
// of which are annotations of images, makes a borrower speak to a socket that
// is there for something else. The socket and the process that listens on it
// belong to root or to the borrower's user. The lender should let nobody else
// connect: whoever can is given passwords.
//
// The borrower asks, by HTTP/1.1, whenever it needs a token or a password:
//
//	GET /credentials?host=HOST&repository=REPOSITORY
//
// HOST is "name" or "name:port" of the server that wants to know who is asking:
// the registry or a mirror of it. Docker Hub is registry-1.docker.io. Answers:
//
//	200 {"username": "U", "secret": "S"}   what to log in with
//	200 {}                                 who may read the image has nothing for this host
//	404                                    nobody is there now who may read the image
//
// When those that are known to have a blob may not be read, it also asks for
// other images of which the blob is a layer, and that somebody was let read who
// is there now; the credentials for them can be asked for as for those that were
// offered for:
//
//	GET /images?blob=DIGEST
//
//	200 {"images": ["registry.example:5000/other/name:tag", …]}   at most 8, perhaps none
//
// Without a username the secret is an identity token (an OAuth 2 refresh token).
// Any other status means that asking did not work. An answer has at most 64 KiB
// and comes within ten seconds. The lender answers with what a user has only if
// that user was let read the image's manifest, by the registry and with these
// credentials: who may name a repository need not be let read it.
package auth
