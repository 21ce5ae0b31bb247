package fs

import "context"

// turn is a lock that take waits for until ctx ends. Package fs uses it to serialize the
// mounts and unmounts of one tree: if one fails, the next call tries again.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turn) give() { <-t }
