// Package auth finds the credentials for a registry host. A source is a place that may have
// some: the clients of builds, who lend theirs (Offers), kubelet's credential providers
// (Kubelet), pull secrets of a cluster (Secrets), and Docker's configuration file with the
// credential helpers that it names (Docker). Sources asks several of them in turn. Lenders also
// say which hosts have the images of a registry.
//
// Credentials are looked up each time they are needed, so that a renewed login or a
// short-lived token takes effect without a restart or a remount. A challenge is the
// request of a host for authentication (WWW-Authenticate), and a login is the answer.
//
// A lender is a process that serves a unix socket, as bin/ladle-buildkitd does for the
// clients of its builds. This package is the borrower. An offer is the announcement, by a
// label on Prepare, that a lender has credentials for one repository. Borrowed credentials
// are neither written to disk nor logged.
//
// docs/protocol.md specifies the label, the requests and the answers, in "Lent
// credentials".
package auth
