package cri

import (
	"fmt"

	"google.golang.org/grpc/mem"
)

// message is one gRPC message as it is on the wire.
type message struct{ bytes mem.BufferSlice }

// wire is a gRPC codec (encoding.CodecV2) that leaves messages as they are.
type wire struct{}

// Name is that of the codec in whose place it is: it is sent as the content subtype.
func (wire) Name() string { return "proto" }

// Marshal passes the reference to the bytes of v, a *message, on to gRPC, which frees them. A
// message is sent once.
func (wire) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*message)
	if !ok {
		return nil, fmt.Errorf("a %T cannot be passed on", v)
	}
	return m.bytes, nil
}

// Unmarshal keeps a reference to data in v, a *message.
func (wire) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*message)
	if !ok {
		return fmt.Errorf("a %T cannot be passed on", v)
	}
	data.Ref()
	m.bytes = data
	return nil
}
