package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// ErrNotRunning is the error of Dial if no daemon listens.
var ErrNotRunning = errors.New("no daemon is running")

// Client asks a daemon. It may be used concurrently.
type Client struct{ conn *grpc.ClientConn }

// Dial connects to the daemon that listens on the unix socket path, and returns ErrNotRunning
// if none does. While one process of a service takes over from another, calls wait. The caller
// closes the client.
func Dial(ctx context.Context, path string) (*Client, error) {
	// gRPC connects at the first call, and its error would not tell these cases apart.
	probe, err := new(net.Dialer).DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w: nothing listens on %s", ErrNotRunning, path)
	case err != nil:
		return nil, err
	}
	if err := probe.Close(); err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient("unix:"+path,
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the socket is root's
		grpc.WithDefaultCallOptions(grpc.ForceCodec(messages{}), grpc.WaitForReady(true)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &Client{conn}, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// Status asks what the daemon is, has and does.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	return call[Status](ctx, c, "Status", &StatusRequest{})
}

func call[Reply any](ctx context.Context, c *Client, name string, req any) (*Reply, error) {
	reply := new(Reply)
	if err := c.conn.Invoke(ctx, "/"+serviceName+"/"+name, req, reply); err != nil {
		return nil, err
	}
	return reply, nil
}
