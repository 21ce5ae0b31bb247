package install

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	introspection "github.com/containerd/containerd/api/services/introspection/v1"
	snapshots "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

const (
	callTimeout = 5 * time.Second // of one call
	callPause   = 100 * time.Millisecond
)

// until calls do until it returns no error or the context ends, and returns its last error.
func until(ctx context.Context, do func(context.Context) error) error {
	for {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		err := do(call)
		cancel()
		if err == nil || errors.As(err, new(final)) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(callPause):
		}
	}
}

// final is an error that does not go away by waiting.
type final struct{ error }

func dial(socket string) (*grpc.ClientConn, error) {
	return grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// Answers makes one call of the snapshots service on a socket of ladle.
func Answers(ctx context.Context, socket string) error {
	conn, err := dial(socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = snapshots.NewSnapshotsClient(conn).Stat(ctx, &snapshots.StatSnapshotRequest{Key: checkKey})
	if err != nil && status.Code(err) != codes.NotFound {
		return fmt.Errorf("%s does not answer: %w", socket, err)
	}
	return nil
}

// checkKey is the name of a snapshot that is made and removed.
const checkKey = "ladle-install-check"

// Reaches makes a snapshot of ladle through containerd, and removes it.
func Reaches(ctx context.Context, containerd string) error {
	conn, err := dial(containerd)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx = namespaces.WithNamespace(ctx, namespaces.Default)
	client := snapshots.NewSnapshotsClient(conn)
	_, err = client.Prepare(ctx, &snapshots.PrepareSnapshotRequest{Snapshotter: Name, Key: checkKey})
	switch status.Code(err) {
	case codes.OK, codes.AlreadyExists: // of a run that was killed
	case codes.InvalidArgument, codes.NotFound, codes.Unimplemented:
		return final{fmt.Errorf("containerd has no snapshotter %s: %w", Name, err)}
	default:
		return fmt.Errorf("containerd at %s does not reach ladle: %w", containerd, err)
	}
	if _, err = client.Remove(ctx, &snapshots.RemoveSnapshotRequest{Snapshotter: Name, Key: checkKey}); err != nil {
		return fmt.Errorf("containerd at %s does not reach ladle: %w", containerd, err)
	}
	return nil
}

// brokenPlugins returns the plugins of containerd that did not start, with the reasons.
func brokenPlugins(ctx context.Context, containerd string) (map[string]string, error) {
	conn, err := dial(containerd)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	reply, err := introspection.NewIntrospectionClient(conn).Plugins(ctx, &introspection.PluginsRequest{})
	if err != nil {
		return nil, fmt.Errorf("containerd at %s does not answer: %w", containerd, err)
	}
	all := map[string]string{}
	for _, p := range reply.Plugins {
		if p.InitErr != nil {
			all[p.Type+"."+p.ID] = p.InitErr.Message
		}
	}
	return all, nil
}

// peer returns the process that listens on a socket.
func peer(ctx context.Context, socket string) (pid int, err error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var credErr error
	err = raw.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); credErr == nil {
			pid = int(cred.Pid)
		}
	})
	return pid, errors.Join(err, credErr)
}

// programOf returns the program of a process.
func programOf(pid int) (string, error) {
	if pid == 0 {
		return "", os.ErrNotExist
	}
	return os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
}
