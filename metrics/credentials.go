package metrics

import "github.com/prometheus/client_golang/prometheus"

// The values of the labels of Credentials: the names of the sources of package auth, and what
// they answer.
var (
	CredentialSources = []string{"lent", "cri", "kubelet", "secrets", "docker"}
	CredentialResults = []string{"found", "none", "failed", "refused"}
)

// Credentials counts what sources of credentials answer.
type Credentials struct{ answers *prometheus.CounterVec }

func newCredentials(r prometheus.Registerer) *Credentials {
	c := &Credentials{newCounters(r, "credential_answers_total",
		"Answers of sources of credentials, by source and result.", "source", "result")}
	for _, source := range CredentialSources {
		for _, result := range CredentialResults {
			c.answers.WithLabelValues(source, result)
		}
	}
	return c
}

// Answered counts an answer. Sources and results that are not in the sets are not counted.
func (c *Credentials) Answered(source, result string) {
	if c == nil {
		return
	}
	if value(source, CredentialSources, "") != "" && value(result, CredentialResults, "") != "" {
		c.answers.WithLabelValues(source, result).Inc()
	}
}
