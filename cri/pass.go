package cri

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// anyCall describes calls of all kinds: those with one message are streams of one.
var anyCall = grpc.StreamDesc{ServerStreams: true, ClientStreams: true}

// pass passes a call on to containerd, and the answer back. first is the message that was
// received already, or nil. It returns the status of containerd, or that of a containerd that
// cannot be reached.
func (p *Proxy) pass(from grpc.ServerStream, method string, first *message) error {
	ctx, cancel := context.WithCancel(withMetadata(from.Context()))
	defer cancel()
	to, err := p.conn.NewStream(ctx, &anyCall, method)
	if err != nil {
		return err
	}
	// The goroutine ends when the caller has sent all, or with the call, when this function
	// has returned: both end from.RecvMsg.
	go func() {
		if err := passRequests(from, to, first); err != nil {
			cancel()
		}
	}()
	return passAnswers(from, to)
}

// withMetadata returns ctx with the caller's metadata for containerd. gRPC itself leaves out
// what it sets anew: the authority, the content type and the user agent.
func withMetadata(ctx context.Context) context.Context {
	md, _ := metadata.FromIncomingContext(ctx) // a copy
	return metadata.NewOutgoingContext(ctx, md)
}

func passRequests(from grpc.ServerStream, to grpc.ClientStream, first *message) error {
	for m := first; ; m = nil {
		if m == nil {
			m = new(message)
			if err := from.RecvMsg(m); errors.Is(err, io.EOF) {
				return to.CloseSend()
			} else if err != nil {
				return err
			}
		}
		if err := to.SendMsg(m); errors.Is(err, io.EOF) {
			return nil // the call has ended: passAnswers receives why
		} else if err != nil {
			return err
		}
	}
}

func passAnswers(from grpc.ServerStream, to grpc.ClientStream) error {
	if header, err := to.Header(); err == nil && header != nil { // else RecvMsg says why there is none
		if err := from.SendHeader(header); err != nil {
			return err
		}
	}
	for {
		m := new(message)
		if err := to.RecvMsg(m); err != nil {
			from.SetTrailer(to.Trailer())
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := from.SendMsg(m); err != nil {
			return err
		}
	}
}
