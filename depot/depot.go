package depot

import (
	"github.com/ladle-dev/ladle/fetch"
)

// Depot finds origins and targets.
type Depot struct {
	// Client reads from registries.
	Client *fetch.Client

	// Push returns the hosts to which images are written. Registries take their time
	// to store a large blob: longer than hosts may take that are read from.
	Push fetch.Registries
}

// Open returns the origin that ref names. The caller closes it.
func (d Depot) Open(ref Reference) (Origin, error) {
	if ref.Layout != "" {
		o, err := openLayout(ref)
		if err != nil {
			return nil, err
		}
		return o, nil
	}
	return registryOrigin{d.Client, ref.Name}, nil
}

// Create returns the target that ref names. The caller closes it.
func (d Depot) Create(ref Reference) (Target, error) {
	if ref.Layout != "" {
		t, err := createLayout(ref)
		if err != nil {
			return nil, err
		}
		return t, nil
	}
	t, err := newRegistryTarget(ref, d.Push)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Attach returns where artifacts are put that refer to the image that ref names. The caller
// closes it.
func (d Depot) Attach(ref Reference) (Attachment, error) {
	if ref.Layout != "" {
		a, err := attachToLayout(ref)
		if err != nil {
			return nil, err
		}
		return a, nil
	}
	a, err := attachInRegistry(ref, d)
	if err != nil {
		return nil, err
	}
	return a, nil
}
