package main

import (
	"context"
	"net"
	"os"

	"github.com/coreos/go-systemd/v22/activation"
)

// received is what systemd passed to the process (sd_listen_fds(3)).
type received struct {
	sockets  sockets
	handover *handover
}

// receive takes what systemd passed. It is called first of all, since readers
// may be waiting for the connection that is among it.
func receive(ctx context.Context) received {
	s := sockets{inherited: map[string]net.Listener{}, left: map[string]*net.UnixListener{}}
	var device, terms *os.File
	for _, f := range activation.Files(true) {
		switch f.Name() {
		case deviceName:
			device = f
			continue
		case termsName:
			terms = f
			continue
		}
		// Listeners copy the descriptor. What is none is closed: proofs
		// of earlier processes, and what a drop-in of the unit may add.
		l, err := net.FileListener(f)
		f.Close()
		if err == nil {
			s.add(f.Name(), l)
		}
	}
	return received{s, newHandover(ctx, device, terms)}
}
