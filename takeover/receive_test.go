package takeover

import "testing"

// TestReceiveWithoutSystemd is a start by hand.
func TestReceiveWithoutSystemd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("LISTEN_PID", "")
	t.Setenv("LISTEN_FDS", "")
	r := Receive(t.Context())
	if r.Mounts.Inherited() || r.Mounts.Stored() {
		t.Error("there is a connection")
	}
	s := newServer(t)
	if err := r.Mounts.Serve(t.Context(), own, s); err != nil || s.connected == "" {
		t.Errorf("Serve: %v", err)
	}
	if err := r.Mounts.Withdraw(); err != nil {
		t.Error(err)
	}
}
