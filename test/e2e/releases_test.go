package e2e

import (
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/ladle-dev/ladle/test/stack"
	"github.com/ladle-dev/ladle/test/stacktest"
)

// onReleases runs a test on the newest containerd and on the long-term release.
func onReleases(t *testing.T, test func(t *testing.T, c stack.Containerd)) {
	for name, release := range map[string]string{"newest": "", stack.LongTerm: stack.LongTerm} {
		t.Run("containerd "+name, func(t *testing.T) { test(t, stack.Containerd{Release: release}) })
	}
}

// onDrivers runs a test with each driver on the newest containerd, and with one on
// the long-term release.
func onDrivers(t *testing.T, test func(t *testing.T, c stack.Containerd, driver string)) {
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) { test(t, stack.Containerd{}, driver) })
	}
	t.Run("containerd "+stack.LongTerm, func(t *testing.T) {
		test(t, stack.Containerd{Release: stack.LongTerm}, drivers[0])
	})
}

// newLabOn is newLab on one containerd, which is also CRI's for the first daemon.
func newLabOn(t *testing.T, c stack.Containerd, daemons ...stack.Daemon) lab {
	t.Helper()
	return lab{T: stacktest.New(t, stack.Options{Daemons: daemons, Containerd: c, CRISnapshotter: daemons[0].Name})}
}

// criClient connects to containerd's CRI.
func (l lab) criClient() (cri.RuntimeServiceClient, cri.ImageServiceClient) {
	l.Helper()
	conn, err := grpc.NewClient("unix://"+l.Node.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() {
		if err := conn.Close(); err != nil {
			l.Error(err)
		}
	})
	return cri.NewRuntimeServiceClient(conn), cri.NewImageServiceClient(conn)
}
