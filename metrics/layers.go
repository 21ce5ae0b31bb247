package metrics

import "github.com/prometheus/client_golang/prometheus"

// Opened says how an attempt to open a layer ended.
type Opened string

// How an attempt to open a layer ends.
const (
	OpenedStored     Opened = "stored"     // its index was in the store
	OpenedFetched    Opened = "fetched"    // its index was fetched and verified
	OpenedKept       Opened = "kept"       // it has no index, but one of an earlier import was kept
	OpenedImported   Opened = "imported"   // it has no index, and was imported
	OpenedNotLazy    Opened = "not_lazy"   // the blob is in no lazily readable format
	OpenedUnverified Opened = "unverified" // the image names no index for it, or another one
	OpenedInvalid    Opened = "invalid"    // its index breaks the rules of its format
	OpenedError      Opened = "error"      // the index could not be had
)

// AllOpened is every value of Opened.
var AllOpened = []Opened{
	OpenedStored, OpenedFetched, OpenedKept, OpenedImported, OpenedNotLazy, OpenedUnverified, OpenedInvalid, OpenedError,
}

// Layers counts layers that were opened.
type Layers struct{ opened *prometheus.CounterVec }

func newLayers(r prometheus.Registerer) *Layers {
	l := &Layers{newCounters(r, "layers_opened_total", "Layers opened, by outcome.", "outcome")}
	for _, o := range AllOpened {
		l.opened.WithLabelValues(string(o))
	}
	return l
}

// Opened counts an attempt to open a layer.
func (l *Layers) Opened(o Opened) {
	if l != nil {
		l.opened.WithLabelValues(value(o, AllOpened, OpenedError)).Inc()
	}
}

// Reason says why a snapshot became remote or did not.
type Reason string

// Why a snapshot is prepared as it is.
const (
	ReasonLazy       Reason = "lazy"       // remote: its layer is lazily readable
	ReasonNoLabels   Reason = "no_labels"  // local: the client did not say of which image it is
	ReasonFormat     Reason = "format"     // local: the blob is in no format that can be read lazily
	ReasonUnverified Reason = "unverified" // local: the image names no index for it, or another one
	ReasonInvalid    Reason = "invalid"    // local: its index breaks the rules of its format
	ReasonRegistry   Reason = "registry"   // local: the index could not be had
	ReasonTimeout    Reason = "timeout"    // local: it took too long
	ReasonOther      Reason = "other"      // local: anything else; the log has it
)

// AllReasons is every value of Reason.
var AllReasons = []Reason{
	ReasonLazy, ReasonNoLabels, ReasonFormat, ReasonUnverified, ReasonInvalid,
	ReasonRegistry, ReasonTimeout, ReasonOther,
}

// Prepares counts layers that a client asked for.
type Prepares struct{ prepared *prometheus.CounterVec }

func newPrepares(r prometheus.Registerer) *Prepares {
	p := &Prepares{newCounters(r, "prepares_total",
		"Layers of images that were prepared, by result (remote or local) and reason.", "result", "reason")}
	for _, why := range AllReasons {
		result := "local"
		if why == ReasonLazy {
			result = "remote"
		}
		p.prepared.WithLabelValues(result, string(why)) // 0: the first one is an increase for Prometheus, too
	}
	return p
}

// Remote counts a layer that is read lazily.
func (p *Prepares) Remote() {
	if p != nil {
		p.prepared.WithLabelValues("remote", string(ReasonLazy)).Inc()
	}
}

// Local counts a layer that is left to the ordinary pull, and why.
func (p *Prepares) Local(why Reason) {
	if p != nil {
		p.prepared.WithLabelValues("local", value(why, AllReasons, ReasonOther)).Inc()
	}
}
