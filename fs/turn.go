package fs

import "context"

// turn lets one call at a time work on something. Others wait for their turn
// for as long as their own ctx lasts; if the one before failed, the next tries
// for itself.
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
