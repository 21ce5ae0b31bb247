package main

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/log"
	systemd "github.com/coreos/go-systemd/v22/daemon"
)

// notifyReady notifies systemd that the sockets are served, and then of each half of the
// unit's WatchdogSec until ctx ends. It does nothing if systemd did not start the process.
func notifyReady(ctx context.Context) error {
	if _, err := systemd.SdNotify(false, systemd.SdNotifyReady); err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	period, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("systemd watchdog: %w", err)
	}
	if period > 0 {
		go feedWatchdog(ctx, period/2)
	}
	return nil
}

func feedWatchdog(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			notify(ctx, systemd.SdNotifyWatchdog)
		}
	}
}

// notifyStopping notifies systemd that the process stops deliberately.
func notifyStopping(ctx context.Context) { notify(ctx, systemd.SdNotifyStopping) }

func notify(ctx context.Context, state string) {
	if _, err := systemd.SdNotify(false, state); err != nil {
		log.G(ctx).WithError(err).WithField("state", state).Warn("notifying systemd failed")
	}
}
