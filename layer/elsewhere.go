package layer

import (
	"errors"

	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/fetch"
)

// fetchElsewhere is for a run that failed with err at all known sources. If that
// is because they may not be read any more, images are asked for that have the
// blob and may be read now. Those are tried first from then on. The known may be
// among them, with other credentials.
func (l *Layer) fetchElsewhere(r *run, err error) error {
	denied := errors.Is(err, fetch.ErrUnauthorized) || errors.Is(err, fetch.ErrNotFound)
	if !denied || l.set.opts.Images == nil || l.ctx.Err() != nil {
		return err
	}
	images := l.set.opts.Images(l.ctx, l.sources.images(), l.ID().Blob)
	for _, ref := range images {
		l.set.addSource(l, ref)
		if err := l.data.AddSource(ref); err != nil {
			log.G(l.ctx).WithError(err).WithField("layer", l.ID().Blob).Warn("an image of the layer is not remembered")
		}
	}
	if len(images) == 0 {
		return err
	}
	return l.fetchFrom(l.sources.of(images), r)
}
