package layer

import "github.com/containerd/log"

// room is the state of the disk: which chunks may be stored.
type room int

const (
	// roomAll: all chunks, including those that are fetched ahead.
	roomAll room = iota
	// roomRequested: less than the reserve is free. Only chunks that a reader
	// requested are stored. Other chunks of the same run are cached in memory for
	// memoryLife, and stored if a reader requests them meanwhile.
	roomRequested
	// roomNone: the disk refused or lost chunks within memoryLife. Only chunks that a
	// reader requested are tried to be stored.
	roomNone
)

// room returns the state of the disk, and logs changes between roomAll and roomRequested.
func (s *Set) room() room {
	low := s.store.IsLow()
	if s.memory.low.Swap(low) != low {
		logSpace(s, low)
	}
	switch {
	case s.memory.isUnavailable():
		return roomNone
	case low:
		return roomRequested
	}
	return roomAll
}

func logSpace(s *Set, low bool) {
	space, err := s.store.Space()
	logger := log.G(s.ctx).WithField("free", space.Free).WithField("reserve", space.Reserve)
	switch {
	case err != nil:
	case low:
		logger.Warn("free disk space is below the reserve: prefetch and background fetch are paused")
	default:
		logger.Info("free disk space is above the reserve: prefetch and background fetch continue")
	}
}
