package metrics

import "github.com/prometheus/client_golang/prometheus"

// Op is a kind of request that the kernel sends to FUSE.
type Op string

// The kinds that are told apart.
const (
	OpLookup   Op = "lookup"
	OpForget   Op = "forget"
	OpGetattr  Op = "getattr"
	OpReadlink Op = "readlink"
	OpGetxattr Op = "getxattr" // and listxattr
	OpOpen     Op = "open"
	OpRead     Op = "read"
	OpRelease  Op = "release"
	OpOpendir  Op = "opendir"
	OpReaddir  Op = "readdir" // and readdirplus
	OpStatfs   Op = "statfs"
	OpOther    Op = "other"
)

// AllOps is every value of Op.
var AllOps = []Op{
	OpLookup, OpForget, OpGetattr, OpReadlink, OpGetxattr, OpOpen,
	OpRead, OpRelease, OpOpendir, OpReaddir, OpStatfs, OpOther,
}

// Requests counts requests of the kernel to FUSE.
type Requests struct{ byOp map[Op]prometheus.Counter }

func newRequests(r prometheus.Registerer) *Requests {
	counters := newCounters(r, "fuse_requests_total", "Requests of the kernel to FUSE, by operation.", "op")
	byOp := map[Op]prometheus.Counter{}
	for _, op := range AllOps {
		byOp[op] = counters.WithLabelValues(string(op))
	}
	return &Requests{byOp}
}

// Add counts a request.
func (r *Requests) Add(op Op) {
	if r == nil {
		return
	}
	c := r.byOp[op]
	if c == nil {
		c = r.byOp[OpOther]
	}
	c.Inc()
}

// Driver is a way in which the kernel gets a tree.
type Driver string

// The drivers of package fs.
const (
	DriverEROFS Driver = "erofs"
	DriverLoop  Driver = "loop"
	DriverFUSE  Driver = "fuse"
)

// AllDrivers is every value of Driver.
var AllDrivers = []Driver{DriverEROFS, DriverLoop, DriverFUSE}

// Mounts counts trees that are mounted.
type Mounts struct {
	mounted *prometheus.GaugeVec
	failed  *prometheus.CounterVec
}

func newMounts(r prometheus.Registerer) *Mounts {
	m := &Mounts{
		mounted: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: namespace, Name: "tree_mounts", Help: "Trees that are mounted now, by driver.",
		}, []string{"driver"}),
		failed: newCounters(r, "tree_mount_failures_total", "Trees that could not be mounted, by driver.", "driver"),
	}
	r.MustRegister(m.mounted)
	for _, d := range AllDrivers {
		m.mounted.WithLabelValues(string(d))
		m.failed.WithLabelValues(string(d))
	}
	return m
}

// Mounted counts n trees more that are mounted, or fewer if n is negative. A
// driver that is none of AllDrivers is not counted.
func (m *Mounts) Mounted(d Driver, n int) {
	if m != nil && value(d, AllDrivers, "") != "" {
		m.mounted.WithLabelValues(string(d)).Add(float64(n))
	}
}

// Failed counts a tree that could not be mounted.
func (m *Mounts) Failed(d Driver) {
	if m != nil && value(d, AllDrivers, "") != "" {
		m.failed.WithLabelValues(string(d)).Inc()
	}
}
