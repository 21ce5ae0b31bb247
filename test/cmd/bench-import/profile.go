package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/ladle-dev/ladle/test/cold"
	"github.com/ladle-dev/ladle/test/stack"
)

// measureLadle measures ladle, and takes the CPU profile of its pull if there is a file
// for it.
func (b bench) measureLadle(ctx context.Context, r *stack.Registry, s cold.Start) (cost cold.Cost, err error) {
	if b.cpu == "" {
		s.Daemons = []stack.Daemon{stack.Ladle(s.Snapshotter, "")}
		return cold.MeasureCost(ctx, r.Addr, b.profile, s, nil)
	}
	dir, err := os.MkdirTemp("", "ladle-profile-")
	if err != nil {
		return cost, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	socket := filepath.Join(dir, "debug.sock")
	s.Daemons = []stack.Daemon{stack.Ladle(s.Snapshotter, fmt.Sprintf("debug_address = %q\n", socket))}
	var profile error
	cost, err = cold.MeasureCost(ctx, r.Addr, b.profile, s, func(ctx context.Context) { profile = b.take(ctx, socket) })
	return cost, errors.Join(err, profile)
}

// take writes a CPU profile of the daemon that serves profiles at socket. net/http/pprof
// gives it at the end of a time that is asked for, and nothing if the request ends before:
// one profile follows the other, each of some seconds, and those of a pull are merged by
// go tool pprof.
func (b bench) take(ctx context.Context, socket string) error {
	const length = 2 // seconds
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	for i := 0; ctx.Err() == nil; i++ {
		// The one that the end of the pull falls into is taken to its end, too.
		one, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		err := b.save(one, client, fmt.Sprintf("http://ladle/debug/pprof/profile?seconds=%d", length), fmt.Sprintf("%s.%d", b.cpu, i))
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

func (b bench) save(ctx context.Context, client *http.Client, url, file string) (err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("bench-import: profile: %s", answer.Status)
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, answer.Body)
	return err
}
