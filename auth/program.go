package auth

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"

	"github.com/docker/cli/cli/config/types"
	"github.com/docker/docker-credential-helpers/client"
	"github.com/docker/docker-credential-helpers/credentials"

	"github.com/ladle-dev/ladle/flight"
	"github.com/ladle-dev/ladle/lru"
)

const (
	// answerTTL is the time for which an answer of a helper is used: long enough that a
	// burst of requests runs the helper once, and short beside the lifetime of tokens,
	// which is minutes.
	answerTTL = time.Minute

	// maxAnswers bounds the answers that are kept, of each helper one for each host.
	maxAnswers = 1024

	// runTimeout bounds the run of a helper, some of which ask the network.
	runTimeout = 30 * time.Second

	// identityUser is the user name with which a helper says that the secret is
	// an identity token.
	identityUser = "<token>"
)

// programs runs credential helpers, the programs docker-credential-NAME, and
// keeps their answers for answerTTL. One that fails is run again at the
// next call.
type programs struct {
	now  func() time.Time
	runs flight.Group[types.AuthConfig] // by program and key

	mu struct {
		sync.Mutex
		answers *lru.Cache[question, answer]
		epoch   int // number of calls of forget
	}
}

type question struct{ program, key string }

type answer struct {
	types.AuthConfig
	expires time.Time
}

func newPrograms(now func() time.Time) *programs {
	p := &programs{now: now}
	p.mu.answers = lru.New[question, answer](maxAnswers)
	return p
}

// forget drops all answers. The answers of runs in progress are not stored.
func (p *programs) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.answers.Purge()
	p.mu.epoch++
}

// get asks the helper of that name for the credentials stored under key. If
// it has none they are empty. No lock is held while the helper runs.
func (p *programs) get(ctx context.Context, name, key string) (types.AuthConfig, error) {
	q := question{"docker-credential-" + name, key}
	p.mu.Lock()
	a, ok := p.mu.answers.Get(q)
	epoch := p.mu.epoch
	p.mu.Unlock()
	if ok && p.now().Before(a.expires) {
		return a.AuthConfig, nil
	}
	return p.runs.Do(ctx, fmt.Sprint(q, epoch), runTimeout, func(ctx context.Context) (types.AuthConfig, error) {
		c, err := run(ctx, q)
		if err == nil {
			p.store(q, c, epoch)
		}
		return c, err
	})
}

func (p *programs) store(q question, c types.AuthConfig, epoch int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if epoch == p.mu.epoch {
		p.mu.answers.Add(q, answer{c, p.now().Add(answerTTL)})
	}
}

// run runs a helper. Errors do not contain its output, which may be secret.
func run(ctx context.Context, q question) (types.AuthConfig, error) {
	r := &running{}
	c, err := client.Get(func(args ...string) client.Program {
		r.cmd = exec.CommandContext(ctx, q.program, args...)
		r.cmd.WaitDelay = time.Second
		return r
	}, q.key)
	switch {
	case credentials.IsErrCredentialsNotFound(err):
		return types.AuthConfig{}, nil
	case ctx.Err() != nil:
		return types.AuthConfig{}, fmt.Errorf("%s: no answer within %v", q.program, runTimeout)
	case r.err != nil:
		return types.AuthConfig{}, fmt.Errorf("%s: %w", q.program, r.err)
	case err != nil:
		return types.AuthConfig{}, fmt.Errorf("%s: answer not understood", q.program)
	case c.Username == identityUser:
		return types.AuthConfig{IdentityToken: c.Secret}, nil
	}
	return types.AuthConfig{Username: c.Username, Password: c.Secret}, nil
}

// running is a client.Program with the error of its run.
type running struct {
	cmd *exec.Cmd
	err error
}

func (r *running) Input(in io.Reader) { r.cmd.Stdin = in }

func (r *running) Output() ([]byte, error) {
	out, err := r.cmd.Output()
	r.err = err
	return out, err
}
