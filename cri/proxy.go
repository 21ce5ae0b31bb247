package cri

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

const (
	// services begins the methods that are passed on: those of all versions of CRI. containerd
	// serves its own API on the same socket.
	services = "/runtime."

	pullImage = "/runtime.v1.ImageService/PullImage"

	// maxMessage bounds a message, in bytes, as containerd's default and kubelet do.
	maxMessage = 16 << 20

	// maxCalls bounds the calls in progress of one connection.
	maxCalls = 256

	// reconnectWithin is the most time between two attempts to connect to containerd.
	reconnectWithin = time.Second
)

// Options configure a Proxy.
type Options struct {
	ImageService string       // path of containerd's unix socket
	Credentials  *Credentials // take the logins of pulls

	// Pulled is called when a pull with a login has succeeded, with the reference of the image,
	// before the caller has the answer. It waits for nothing. Nil: nothing is called.
	Pulled func(image string)
}

// Proxy passes calls of CRI's image service on to containerd.
type Proxy struct {
	server *grpc.Server
	conn   *grpc.ClientConn
	Options
}

// NewProxy returns a proxy, which connects to containerd at the first call. The caller closes it.
func NewProxy(o Options, opts ...grpc.ServerOption) (*Proxy, error) {
	path := o.ImageService
	dial := func(ctx context.Context, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	conn, err := grpc.NewClient("passthrough:///localhost",
		grpc.WithContextDialer(dial),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: reconnectWithin},
			MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(wire{}), grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
	)
	if err != nil {
		return nil, fmt.Errorf("image service %s: %w", path, err)
	}
	p := &Proxy{conn: conn, Options: o}
	p.server = grpc.NewServer(append([]grpc.ServerOption{
		grpc.ForceServerCodecV2(wire{}),
		grpc.UnknownServiceHandler(p.call), // there are no known ones
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxSendMsgSize(maxMessage),
		grpc.MaxConcurrentStreams(maxCalls),
	}, opts...)...)
	return p, nil
}

// Server returns the server, which the caller serves and stops.
func (p *Proxy) Server() *grpc.Server { return p.server }

// Close ends the connection to containerd, and with it the calls that are still in progress.
func (p *Proxy) Close() error { return p.conn.Close() }

// call answers one call, of any method.
func (p *Proxy) call(_ any, from grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(from)
	switch {
	case !strings.HasPrefix(method, services):
		return status.Errorf(codes.Unimplemented, "%s: ladle passes on CRI's services only", method)
	case method == pullImage:
		return p.pull(from)
	}
	return p.pass(from, method, nil)
}

// pull passes on a call of PullImage. Its login is kept before containerd gets the request, and
// what comes of it is settled before the caller gets the status.
func (p *Proxy) pull(from grpc.ServerStream) error {
	request := new(message)
	if err := from.RecvMsg(request); err != nil {
		return err
	}
	pull := p.Credentials.begin(from.Context(), request.bytes.Materialize())
	err := p.pass(from, pullImage, request)
	p.Credentials.end(from.Context(), pull, err)
	if pull != nil && err == nil && p.Pulled != nil {
		p.Pulled(pull.image)
	}
	return err
}
