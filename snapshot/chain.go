package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"

	"github.com/ladle-dev/ladle/durable"
	"github.com/ladle-dev/ladle/merge"
	"github.com/ladle-dev/ladle/stack"
)

// chains are the chains that were read in one transaction, each snapshot once.
type chains struct {
	byKey  map[string]stack.Chain
	byName map[string]stack.Chain // by what the client of the call calls the last snapshot
}

func newChains() chains {
	return chains{map[string]stack.Chain{}, map[string]stack.Chain{}}
}

// readChain returns the chain of the committed snapshot key; without a key it is empty. It
// needs a transaction.
func readChain(ctx context.Context, key string) (stack.Chain, error) {
	return newChains().read(ctx, key)
}

// read is readChain.
func (c chains) read(ctx context.Context, key string) (stack.Chain, error) {
	if chain, ok := c.byKey[key]; ok || key == "" {
		return chain, nil
	}
	id, info, _, err := storage.GetInfo(ctx, key)
	if err != nil {
		return nil, err
	}
	return c.add(ctx, numberOf(id), info)
}

// add returns the chain of a committed snapshot.
func (c chains) add(ctx context.Context, id number, info snapshots.Info) (stack.Chain, error) {
	if chain, ok := c.byKey[info.Name]; ok {
		return chain, nil
	}
	last, err := inChain(id, info)
	if err != nil {
		return nil, err
	}
	below, err := c.read(ctx, info.Parent)
	if err != nil {
		return nil, err
	}
	c.byKey[info.Name] = append(slices.Clip(below), last)
	return c.byKey[info.Name], nil
}

// inChain returns a committed snapshot as an element of a chain.
func inChain(id number, info snapshots.Info) (s stack.Snapshot, err error) {
	s.ID = uint64(id)
	s.Layer, s.Remote = layerOf(info)
	s.Stack, err = stackOf(info)
	return s, err
}

// stackLabel has the stack of a merge, encoded: it is stored in the same transaction as
// the snapshot. No client sees or sets it.
const stackLabel = ownPrefix + "stack"

// stackOf returns the stack of a merge, and nil for other snapshots.
func stackOf(info snapshots.Info) (*stack.Stack, error) {
	value, ok := info.Labels[stackLabel]
	if !ok {
		return nil, nil
	}
	st, err := stack.Decode(value)
	if errors.Is(err, durable.ErrLaterFormat) {
		return nil, fmt.Errorf("stack of snapshot %q: %w", info.Name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("stack of snapshot %q: %w: %w", info.Name, errdefs.ErrDataLoss, err)
	}
	return st, nil
}

// stackLabels returns the labels of a merge.
func stackLabels(st *stack.Stack) (map[string]string, error) {
	value, err := st.Encode()
	return map[string]string{stackLabel: value, merge.AnswerLabel: "true"}, err
}
