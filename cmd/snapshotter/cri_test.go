package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
)

const imageFsInfo = "/runtime.v1.ImageService/ImageFsInfo"

// containerdAt serves CRI's image service at path: every call is answered with nothing.
func containerdAt(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
		return s.SendMsg(&emptypb.Empty{})
	}))
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(srv.Stop)
}

// kubelet calls the image service at path, which has to answer within a minute.
func kubelet(t *testing.T, path string) error {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return conn.Invoke(ctx, imageFsInfo, &emptypb.Empty{}, &emptypb.Empty{})
}

// Calls of kubelet wait for the next daemon, as those of containerd do. Without the proxy in the
// configuration its socket is gone.
func TestImageServiceIsHandedOver(t *testing.T) {
	u := newUnit(t, "")
	dir := filepath.Dir(u.address)
	socket, containerd := filepath.Join(dir, "cri.sock"), filepath.Join(dir, "containerd.sock")
	containerdAt(t, containerd)
	on := onlyDemand + "[cri]\naddress = \"" + socket + "\"\nimage_service = \"" + containerd + "\"\n"
	u.end(syscall.SIGTERM)
	u.configure(on)
	u.start()
	if err := kubelet(t, socket); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v, %v", info.Mode(), err)
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		u.end(sig)
		answered := make(chan error, 1)
		go func() { answered <- kubelet(t, socket) }()
		u.start()
		if err := <-answered; err != nil {
			t.Errorf("a call after %v: %v", sig, err)
		}
	}
	u.end(syscall.SIGTERM)
	u.configure(onlyDemand)
	u.start()
	if _, err := os.Lstat(socket); err == nil {
		t.Error("the socket is there though it is not configured any more")
	}
	u.end(syscall.SIGINT)
}
