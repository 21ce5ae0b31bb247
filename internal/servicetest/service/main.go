package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/ladle-dev/ladle/internal/servicetest"
)

// patience is for a daemon to become ready, or to end.
const patience = time.Minute

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: service COMMAND [ARGUMENT...]")
		os.Exit(2)
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "service:", err)
		os.Exit(1)
	}
}

func run(command []string) (err error) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTERM)
	dir, err := os.MkdirTemp("", "ladle-service-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := servicetest.New(servicetest.Options{
		Command: command, Output: os.Stdout, Socket: filepath.Join(dir, "notify"), StoreMax: 64,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := start(s); err != nil {
		return err
	}
	for n := 1; ; n++ {
		fmt.Println("service: ready", n)
		switch <-signals {
		case syscall.SIGTERM:
			return end(s, syscall.SIGINT)
		case syscall.SIGHUP:
			err = end(s, syscall.SIGTERM)
		case syscall.SIGUSR2:
			s.Kill()
			fmt.Println("service: down", n)
			if sig := <-signals; sig == syscall.SIGTERM {
				return nil
			}
		default:
			s.Kill()
		}
		if err = errors.Join(err, start(s)); err != nil {
			return err
		}
	}
}

func start(s *servicetest.Service) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Launch(); err != nil {
		return err
	}
	return s.Ready(ctx)
}

func end(s *servicetest.Service, sig syscall.Signal) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return s.Signal(ctx, sig)
}
