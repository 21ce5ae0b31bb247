package takeover

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// proof tells whether systemd has the descriptors that were sent to its store. systemd does
// not answer, and closes what it receives if the store is full (FileDescriptorStoreMax, zero
// for a unit that does not set it). Therefore one end of a pipe is stored last, and proof is
// the other end. The zero value proves nothing.
type proof struct{ end *os.File }

func newProof(store descriptorStore) (proof, error) {
	ours, theirs, err := os.Pipe()
	if err != nil {
		return proof{}, err
	}
	if err := errors.Join(store.add(proofName, theirs), theirs.Close()); err != nil {
		return proof{}, errors.Join(err, ours.Close())
	}
	return proof{ours}, nil
}

// holds reports whether systemd has all descriptors that were stored before the proof.
func (p proof) holds() bool {
	if p.end == nil {
		return false
	}
	events, err := poll(p.end)
	return err == nil && events&unix.POLLHUP == 0
}

// poll returns which of POLLHUP and POLLERR poll(2) reports for f.
func poll(f *os.File) (events int16, err error) {
	fds := []unix.PollFd{{Fd: int32(f.Fd())}}
	for {
		_, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			return fds[0].Revents, err
		}
	}
}
