package metrics

import "github.com/prometheus/client_golang/prometheus"

// Proof says how an attempt to prove what a layer's tar is ended.
type Proof string

// How a proof ends.
const (
	ProofDone      Proof = "done"      // the layer shows what its tar has
	ProofFailed    Proof = "failed"    // it shows something else, and is out of service
	ProofClaim     Proof = "claim"     // it shows what its tar has, and an image claims that it is another tar
	ProofUndecided Proof = "undecided" // it cannot be told
)

// AllProofs is every value of Proof.
var AllProofs = []Proof{ProofDone, ProofFailed, ProofClaim, ProofUndecided}

// Proofs counts layers of which the tar was rebuilt.
type Proofs struct{ ended *prometheus.CounterVec }

func newProofs(r prometheus.Registerer) *Proofs {
	p := &Proofs{newCounters(r, "proofs_total", "Layers of which it was tried to prove what their tar is, by outcome.", "outcome")}
	for _, o := range AllProofs {
		p.ended.WithLabelValues(string(o))
	}
	return p
}

// Ended counts a layer.
func (p *Proofs) Ended(o Proof) {
	if p != nil {
		p.ended.WithLabelValues(value(o, AllProofs, ProofUndecided)).Inc()
	}
}
