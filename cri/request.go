package cri

import (
	"errors"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// pullRequest is what is read of a runtime.v1.PullImageRequest (k8s.io/cri-api, api.proto).
type pullRequest struct {
	image string // field 1, ImageSpec: its field 1
	auth  loginFields
}

// loginFields are the fields of a runtime.v1.AuthConfig, field 2 of a PullImageRequest.
type loginFields struct {
	username      string // field 1
	password      string // field 2
	auth          string // field 3: base64 of "username:password"
	server        string // field 4: server_address
	identityToken string // field 5
	registryToken string // field 6
}

func (f loginFields) size() int {
	return len(f.username) + len(f.password) + len(f.auth) + len(f.server) + len(f.identityToken) + len(f.registryToken)
}

// errRequest has nothing of the request, which may be secret.
var errRequest = errors.New("the request is not a PullImageRequest of CRI v1")

// parsePull reads a PullImageRequest. Other fields are passed over. As for protobuf's own
// decoders, the last value of a field that is there several times counts.
func parsePull(b []byte) (r pullRequest, err error) {
	err = eachField(b, func(n protowire.Number, value []byte) error {
		switch n {
		case 1:
			return eachField(value, func(n protowire.Number, value []byte) error {
				if n == 1 {
					return setText(&r.image, value)
				}
				return nil
			})
		case 2:
			return eachField(value, r.auth.set)
		}
		return nil
	})
	return r, err
}

func (f *loginFields) set(n protowire.Number, value []byte) error {
	fields := []*string{&f.username, &f.password, &f.auth, &f.server, &f.identityToken, &f.registryToken}
	if n > protowire.Number(len(fields)) {
		return nil
	}
	return setText(fields[n-1], value)
}

func setText(to *string, value []byte) error {
	if !utf8.Valid(value) {
		return errRequest
	}
	*to = string(value)
	return nil
}

// eachField calls use for each field of a message that is text, bytes or a message.
func eachField(b []byte, use func(n protowire.Number, value []byte) error) error {
	for len(b) > 0 {
		n, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return errRequest
		}
		b = b[size:]
		if kind != protowire.BytesType {
			if size = protowire.ConsumeFieldValue(n, kind, b); size < 0 {
				return errRequest
			}
			b = b[size:]
			continue
		}
		value, size := protowire.ConsumeBytes(b)
		if size < 0 {
			return errRequest
		}
		if err := use(n, value); err != nil {
			return err
		}
		b = b[size:]
	}
	return nil
}
