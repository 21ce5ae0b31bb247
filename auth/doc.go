// Package auth finds the credentials for a registry host: those that the client
// of a build lends, and those in Docker's configuration file and the credential
// helpers that it names. Who lends may also say where a registry's images are.
//
// Credentials are looked up each time they are needed, so that a renewed
// login or a short-lived token takes effect without a restart or a remount. A
// challenge is what a host wants to know before it lets anybody read, and a
// login what answers it.
//
// An offer says that a lender will be asked about one repository. A lender is a
// process that serves a unix socket, as bin/ladle-buildkitd does for the clients
// of its builds; a borrower is who asks. Nothing that was lent is written to disk
// or to the log.
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
// The borrower asks, by HTTP/1.1, whenever it needs to log in:
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
// Where the host has named a token server, it asks for a token, with what the
// host said in its challenge and any number of scopes:
//
//	GET /token?host=HOST&repository=REPOSITORY&realm=URL&service=SERVICE&scope=SCOPE
//
//	200 {"token": "T", "expires_in": 300}  a bearer token, and for how many seconds it lives
//	                                       from now on; 0 or nothing if that is not known
//	200 {"username": "U", "secret": "S"}   as above: the borrower fetches the token itself
//	200 {}, 404                            as above
//
// The lender has the token fetched by whose password it is, and says the
// password only if that cannot be. The borrower does not ask for the password
// instead, unless the lender does not know the question.
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
// It also asks where the images of a registry are, which no user need be there
// for. REGISTRY is as image references name it, "docker.io" for Docker Hub:
//
//	GET /hosts?registry=REGISTRY
//
//	200 {"hosts": [{"url": "https://name:port/v2", "ca": ["/FILE", …],
//	                "keypair": [{"cert": "/FILE", "key": "/FILE"}, …],
//	                "insecure": false, "http_fallback": false}, …]}
//
// The hosts are asked in this order, below the path of their URL; those of a
// registry that the lender was told nothing of are null or none. The files are
// PEM, at most 64 of each kind, and the borrower reads them: "ca" is trusted
// besides what the system trusts, and "keypair" is shown to hosts that want to
// see a certificate. With "insecure" the host's certificate is not verified, and
// with "http_fallback" a host that does not speak TLS is asked by plain HTTP.
// There are at most 16 hosts.
//
// Without a username the secret is an identity token (an OAuth 2 refresh token).
// Any other status means that asking did not work; 400 is what lenders answer to
// questions that they do not know, as older ones do to /token and /hosts. Who
// asks or answers ignores names in an answer that it does not know. An answer
// has at most 64 KiB and comes within ten seconds. The lender answers with what
// a user has only if that user was let read the image's manifest, by the registry
// and with these credentials: who may name a repository need not be let read it.
package auth
