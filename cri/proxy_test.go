package cri

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/ladle-dev/ladle/internal/waittest"
)

// A caller of the proxy sees just what a caller of containerd sees, and containerd just what
// the caller sent: known and unknown methods, one message and many, errors with details.
func TestCallsArePassedOnUnchanged(t *testing.T) {
	type seen struct {
		method, request, deadline string
		md                        metadata.MD
	}
	var last seen
	b := newBackend(t, func(c call) error {
		md, _ := metadata.FromIncomingContext(c.Context())
		for _, own := range []string{":authority", "user-agent"} {
			delete(md, own)
		}
		_, ok := c.Context().Deadline()
		last = seen{c.method, string(c.request), fmt.Sprint(ok), md}
		if err := c.SendHeader(metadata.Pairs("a-header", "h", "a-bin", "\x00\xff")); err != nil {
			return err
		}
		c.SetTrailer(metadata.Pairs("a-trailer", "t1", "a-trailer", "t2"))
		for n := range strings.Count(string(c.request), "answer") {
			c.send(t, fmt.Sprint("answer ", n))
		}
		if strings.Contains(string(c.request), "fail") {
			s, err := status.New(codes.ResourceExhausted, "no room: ü").WithDetails(durationpb.New(time.Minute))
			if err != nil {
				t.Error(err)
			}
			return s.Err()
		}
		return nil
	})
	c := OpenCredentials(t.Context(), t.TempDir())
	proxied, direct := newProxy(t, b, c), dial(t, b.path)

	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-key", "v1", "x-key", "v2", "y-bin", "\x01\xfe")
	withDeadline, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	for _, test := range []struct {
		ctx     context.Context
		method  string
		request string
	}{
		{ctx, "/runtime.v1.ImageService/ListImages", "answer"},
		{ctx, "/runtime.v1.ImageService/ListImages", ""},
		{ctx, "/runtime.v1.ImageService/StreamImages", strings.Repeat("answer ", 100)},
		{ctx, "/runtime.v1.ImageService/PullImage", string(pullOf("r.example/a:1", loginFields{})) + "\x7a\x06answer"},
		{ctx, "/runtime.v1.ImageService/PullImage", "no protobuf: answer"},
		{withDeadline, "/runtime.v1.ImageService/NotThereYet", "answer"},
		{ctx, "/runtime.v9.OtherService/Any", "answer fail"},
		{ctx, "/runtime.v1.RuntimeService/Version", "fail"},
		{ctx, "/runtime.v1.ImageService/ImageStatus", "answer" + strings.Repeat("x", 15<<20)},
	} {
		want := direct.call(test.ctx, test.method, test.request)
		sent := last
		got := proxied.call(test.ctx, test.method, test.request)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the proxy gives %v, containerd %v", test.method, got, want)
		}
		if len(want.answers) != strings.Count(test.request, "answer") || (want.status != nil) != strings.Contains(test.request, "fail") {
			t.Errorf("%s: containerd answers %v", test.method, want)
		}
		if !reflect.DeepEqual(last, sent) {
			t.Errorf("%s: containerd sees %.500v by the proxy, and %.500v without", test.method, last, sent)
		}
	}
	// containerd's own services are on its socket, too.
	o := proxied.call(ctx, "/containerd.services.content.v1.Content/List", "answer")
	if o.status.Code() != codes.Unimplemented || last.method == "/containerd.services.content.v1.Content/List" {
		t.Errorf("a call of containerd's own services: %v", o)
	}
}

// Requests of a stream are passed on while answers come.
func TestStreamsGoBothWays(t *testing.T) {
	b := newBackend(t, func(c call) error {
		for m := (&message{}); ; m = new(message) {
			c.send(t, "one more")
			if c.RecvMsg(m) != nil {
				return nil
			}
		}
	})
	o := newProxy(t, b, OpenCredentials(t.Context(), t.TempDir())).call(t.Context(), "/runtime.v2.Some/Thing", "1", "2", "3")
	if len(o.answers) != 3 || o.status != nil {
		t.Errorf("%v", o)
	}
}

// The end of a caller's context ends the call in containerd.
func TestCancellationIsPassedOn(t *testing.T) {
	began, ended := make(chan struct{}), make(chan error, 1)
	b := newBackend(t, func(c call) error {
		close(began)
		<-c.Context().Done()
		ended <- c.Context().Err()
		return c.Context().Err()
	})
	proxied := newProxy(t, b, OpenCredentials(t.Context(), t.TempDir()))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-began
		cancel()
	}()
	if o := proxied.call(ctx, pullImage, string(pullOf("r.example/a:1", loginFields{}))); o.status.Code() != codes.Canceled {
		t.Errorf("the caller sees %v", o)
	}
	if err := <-ended; err != context.Canceled {
		t.Errorf("containerd sees %v", err)
	}
}

// Without containerd a caller sees what it would see without the proxy. When containerd is back
// the proxy finds it.
func TestContainerdIsAway(t *testing.T) {
	b := newBackend(t, func(c call) error { c.send(t, "here"); return nil })
	proxied, direct := newProxy(t, b, OpenCredentials(t.Context(), t.TempDir())), dial(t, b.path)
	const method = "/runtime.v1.ImageService/ImageFsInfo"
	if o := proxied.call(t.Context(), method, ""); o.status != nil {
		t.Fatalf("%v", o)
	}
	b.server.Stop()
	waittest.For(t, "containerd to be away", func() bool { return direct.call(t.Context(), method, "").status.Code() == codes.Unavailable })
	var o outcome
	waittest.For(t, "the proxy to notice", func() bool {
		o = proxied.call(t.Context(), method, "")
		return strings.Contains(o.status.Message(), "no such file")
	})
	if want := direct.call(t.Context(), method, ""); o.status.Code() != want.status.Code() || o.status.Message() != want.status.Message() {
		t.Errorf("without containerd the proxy says %v, and gRPC %v", o.status, want.status)
	}
	b.start(t)
	waittest.For(t, "the proxy to find containerd again", func() bool { return proxied.call(t.Context(), method, "").status == nil })
}
