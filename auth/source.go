package auth

import (
	"context"
	"time"
)

// Source is a place that may have credentials for registries. It may be used concurrently.
type Source interface {
	// Name is one word for logs, metrics and `ladle explain`: see SourceNames.
	Name() string
	// Credentials returns the answer to c. A zero Login and no error mean that the source
	// has none for that host and repository. It waits at most until ctx ends. Errors
	// contain no secret.
	Credentials(ctx context.Context, c Challenge) (Login, error)
}

// SourceNames are the names of all sources, in the order in which they are asked.
var SourceNames = []string{"lent", "cri", "kubelet", "secrets", "docker"}

// Several is a Source that can have more than one Login for a host and repository, such as
// those of several pull secrets. They are tried in their order until the host accepts one.
type Several interface {
	Source
	// Logins is Credentials for all that the source has.
	Logins(ctx context.Context, c Challenge) ([]Login, error)
}

// Renewer is a Source that can get another Login in place of a refused one.
type Renewer interface {
	Source
	// Refused says that the host refused l, which the source returned for c. It waits for
	// nothing.
	Refused(c Challenge, l Login)
}

// Result is the outcome of asking a source.
type Result string

// What a source can answer.
const (
	Found    Result = "found"     // it has credentials, and they are used
	None     Result = "none"      // it has none for the host and repository
	Failed   Result = "failed"    // it could not tell: see Answer.Err
	Refused  Result = "refused"   // the host refused what it has
	NotAsked Result = "not asked" // an earlier source had credentials
)

// Answer is what a source answered for one host and repository. It has no secret.
type Answer struct {
	Source string
	Result Result
	Err    error     // of Failed; also of a part of a source that found something
	Until  time.Time // when the credentials are renewed; zero: not known
}

// Counts counts the answers of sources.
type Counts interface{ Answered(source, result string) }
