package control

import (
	"context"
	"encoding/json"

	"google.golang.org/grpc"
)

// Service is what a daemon answers. Errors are gRPC statuses.
type Service interface {
	// Status says what the daemon is, has and does.
	Status(ctx context.Context, req *StatusRequest) (*Status, error)
	// VerifyPull says whether an image may be pulled.
	VerifyPull(ctx context.Context, req *VerifyRequest) (*Verdict, error)
	// Explain says which credentials there are for an image, and what of it can be read.
	Explain(ctx context.Context, req *ExplainRequest) (*Explanation, error)
}

const serviceName = "ladle.control.v1.Control"

// description is what gRPC has to know of the service.
var description = grpc.ServiceDesc{
	ServiceName: serviceName,
	HandlerType: (*Service)(nil),
	Methods: []grpc.MethodDesc{
		method("Status", Service.Status),
		method("VerifyPull", Service.VerifyPull),
		method("Explain", Service.Explain),
	},
}

// NewServer returns a server of s with the options opts. The caller serves and stops it.
func NewServer(s Service, opts ...grpc.ServerOption) *grpc.Server {
	server := grpc.NewServer(append(opts, grpc.ForceServerCodec(messages{}))...)
	server.RegisterService(&description, s)
	return server
}

// method describes a method of the service, with a pointer to a Request as its message and
// one to a Reply as its answer.
func method[Request, Reply any](name string, call func(Service, context.Context, *Request) (*Reply, error)) grpc.MethodDesc {
	info := grpc.UnaryServerInfo{FullMethod: "/" + serviceName + "/" + name}
	serve := func(s any, ctx context.Context, decode func(any) error, around grpc.UnaryServerInterceptor) (any, error) {
		req := new(Request)
		if err := decode(req); err != nil {
			return nil, err
		}
		next := func(ctx context.Context, req any) (any, error) { return call(s.(Service), ctx, req.(*Request)) }
		if around == nil {
			return next(ctx, req)
		}
		of := info
		of.Server = s
		return around(ctx, req, &of, next)
	}
	return grpc.MethodDesc{MethodName: name, Handler: serve}
}

// messages encodes messages as JSON (google.golang.org/grpc/encoding.Codec).
type messages struct{}

func (messages) Marshal(v any) ([]byte, error)   { return json.Marshal(v) }
func (messages) Unmarshal(b []byte, v any) error { return json.Unmarshal(b, v) }
func (messages) Name() string                    { return "json" }
