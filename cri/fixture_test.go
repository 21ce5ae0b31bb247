package cri

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/log"
	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ladle-dev/ladle/internal/logtest"
)

const password = "geheimnis-0815"

// withLog returns a context with a log, and what was logged.
func withLog(t *testing.T) (context.Context, *logtest.Buffer) {
	t.Helper()
	said := new(logtest.Buffer)
	logger := logrus.New()
	logger.SetOutput(said)
	logger.SetLevel(logrus.TraceLevel)
	return log.WithLogger(t.Context(), logrus.NewEntry(logger)), said
}

// pullOf encodes a PullImageRequest, with fields that the proxy does not know.
func pullOf(image string, f loginFields) []byte {
	text := func(b []byte, n protowire.Number, s string) []byte {
		if s == "" {
			return b
		}
		return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), s)
	}
	spec := text(text(nil, 1, image), 18, "as the user wrote it")
	spec = protowire.AppendVarint(protowire.AppendTag(spec, 99, protowire.VarintType), 7)
	var login []byte
	for n, s := range []string{f.username, f.password, f.auth, f.server, f.identityToken, f.registryToken, "a later field"} {
		login = text(login, protowire.Number(n+1), s)
	}
	b := text(nil, 3, "a sandbox")
	b = text(b, 1, string(spec))
	b = protowire.AppendFixed64(protowire.AppendTag(b, 77, protowire.Fixed64Type), 4711)
	return text(b, 2, string(login))
}

// backend is a gRPC server in containerd's place, for calls of all methods.
type backend struct {
	path   string
	server *grpc.Server
	answer func(call) (status error)
	pulled func(image string) // see Options; may be nil
}

// call is a call that reached the backend.
type call struct {
	grpc.ServerStream
	method  string
	request []byte // the first message
}

func (c call) send(t *testing.T, answer string) {
	if err := c.SendMsg(&message{mem.BufferSlice{mem.SliceBuffer(answer)}}); err != nil {
		t.Error(err)
	}
}

// newBackend starts a server that answers with answer.
func newBackend(t *testing.T, answer func(call) error) *backend {
	t.Helper()
	dir, err := os.MkdirTemp("", "cri") // a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &backend{path: filepath.Join(dir, "containerd.sock"), answer: answer}
	b.start(t)
	t.Cleanup(func() { b.server.Stop() })
	return b
}

func (b *backend) start(t *testing.T) {
	t.Helper()
	l, err := net.Listen("unix", b.path)
	if err != nil {
		t.Fatal(err)
	}
	b.server = grpc.NewServer(grpc.ForceServerCodecV2(wire{}), grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
		grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
			method, _ := grpc.MethodFromServerStream(s)
			m := new(message)
			if err := s.RecvMsg(m); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			return b.answer(call{s, method, m.bytes.Materialize()})
		}))
	go func() { _ = b.server.Serve(l) }()
}

// client is a caller of the proxy, or of the backend.
type client struct {
	t    *testing.T
	conn *grpc.ClientConn
}

func dial(t *testing.T, path string) client {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(wire{}), grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return client{t, conn}
}

// outcome is what a caller sees of a call.
type outcome struct {
	header, trailer metadata.MD
	answers         []string
	status          *status.Status
}

func (c client) call(ctx context.Context, method string, requests ...string) (o outcome) {
	c.t.Helper()
	s, err := c.conn.NewStream(ctx, &anyCall, method)
	if err != nil {
		return outcome{status: status.Convert(err)}
	}
	for _, r := range requests {
		if err := s.SendMsg(&message{mem.BufferSlice{mem.SliceBuffer(r)}}); err != nil {
			break // RecvMsg says why
		}
	}
	if err := s.CloseSend(); err != nil {
		c.t.Error(err)
	}
	for {
		m := new(message)
		if err = s.RecvMsg(m); err != nil {
			break
		}
		o.answers = append(o.answers, string(m.bytes.Materialize()))
	}
	o.header, _ = s.Header()
	o.trailer = s.Trailer()
	if !errors.Is(err, io.EOF) {
		o.status = status.Convert(err)
	}
	return o
}

// newProxy serves a proxy of the backend, and returns a client of it.
func newProxy(t *testing.T, b *backend, c *Credentials) client {
	t.Helper()
	p, err := NewProxy(Options{ImageService: b.path, Credentials: c, Pulled: b.pulled})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(filepath.Dir(b.path), "ladle.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.Server().Serve(l) }()
	t.Cleanup(func() {
		p.Server().Stop()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return dial(t, path)
}
