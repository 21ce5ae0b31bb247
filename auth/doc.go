// Package auth finds the credentials for a registry host: in Docker's
// configuration file and the credential helpers that it names.
//
// Credentials are looked up each time they are needed, so that a renewed
// login or a short-lived token takes effect without a restart or a remount.
package auth
