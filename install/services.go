package install

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// Services are the services of the host; Systemctl implements it.
type Services interface {
	// Reload reads unit files anew.
	Reload(ctx context.Context) error
	// Enable makes a service start at boot.
	Enable(ctx context.Context, unit string) error
	// Disable undoes Enable, and stops the service.
	Disable(ctx context.Context, unit string) error
	// Restart starts a service, or restarts it if it runs, and waits until it is ready.
	Restart(ctx context.Context, unit string) error
	// Active reports whether a service runs.
	Active(ctx context.Context, unit string) (bool, error)
}

// Systemctl is the services of systemd.
type Systemctl struct{}

// Reload implements Services.
func (Systemctl) Reload(ctx context.Context) error { return systemctl(ctx, "daemon-reload") }

// Enable implements Services.
func (Systemctl) Enable(ctx context.Context, unit string) error {
	return systemctl(ctx, "enable", unit)
}

// Disable implements Services.
func (Systemctl) Disable(ctx context.Context, unit string) error {
	return systemctl(ctx, "disable", "--now", unit)
}

// Restart implements Services. A unit that systemd has given up is started, too.
func (Systemctl) Restart(ctx context.Context, unit string) error {
	_ = systemctl(ctx, "reset-failed", unit) // it fails if there is nothing to reset
	return systemctl(ctx, "restart", unit)
}

// Active implements Services.
func (Systemctl) Active(ctx context.Context, unit string) (bool, error) {
	err := exec.CommandContext(ctx, "systemctl", "is-active", "--quiet", unit).Run()
	if errors.As(err, new(*exec.ExitError)) && ctx.Err() == nil {
		return false, nil
	}
	return err == nil, err
}

func systemctl(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
