package layer

import "github.com/containerd/log"

// room is for what the disk has room.
type room int

const (
	// roomAll: for what is fetched ahead, too.
	roomAll room = iota
	// roomAsked: less than the reserve is free. Only what a reader asked for is
	// stored. What comes with it is kept in memory for a while, and stored if a
	// reader asks for it meanwhile.
	roomAsked
	// roomNone: it did not take, or lost, chunks in the last seconds. It is tried
	// again for what a reader asks for.
	roomNone
)

// room returns for what there is room, and logs when that changes between
// roomAll and the others.
func (s *Set) room() room {
	low := s.store.IsLow()
	if s.memory.low.Swap(low) != low {
		logSpace(s, low)
	}
	switch {
	case s.memory.refused():
		return roomNone
	case low:
		return roomAsked
	}
	return roomAll
}

func logSpace(s *Set, low bool) {
	space, err := s.store.Space()
	logger := log.G(s.ctx).WithField("free", space.Free).WithField("reserve", space.Reserve)
	switch {
	case err != nil:
	case low:
		logger.Warn("less than the reserve is free on the disk: nothing is fetched ahead")
	default:
		logger.Info("more than the reserve is free on the disk: layers are fetched ahead again")
	}
}
