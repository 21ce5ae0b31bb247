package layer

import (
	"errors"

	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/fetch"
)

// fetchElsewhere continues a run that failed with err at all known sources. If the
// sources may not be read any more, it calls Options.Images for images that have the blob
// and may be read, and tries these, also in later runs. Known sources can be among them,
// with other credentials.
func (l *Layer) fetchElsewhere(r *run, err error) error {
	denied := errors.Is(err, fetch.ErrUnauthorized) || errors.Is(err, fetch.ErrNotFound)
	if !denied || l.set.opts.Lenders == nil || l.ctx.Err() != nil {
		return err
	}
	images := l.set.opts.Lenders.Images(l.ctx, l.sources.images(), l.ID().Blob)
	for _, ref := range images {
		l.set.addSource(l, ref)
		if err := l.data.AddSource(ref); err != nil {
			log.G(l.ctx).WithError(err).WithField("layer", l.ID().Blob).WithField("image", ref).Warn("source image of a layer is not stored")
		}
	}
	if len(images) == 0 {
		return err
	}
	return l.fetchFrom(l.sources.of(images), r)
}
