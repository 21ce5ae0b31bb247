package fs

import (
	"os"
	"sync"

	"github.com/ladle-dev/ladle/idmap"
)

// namespaces are the user namespaces of the clones that this process has mounted, one for
// each mapping.
type namespaces struct {
	mu struct {
		sync.Mutex
		byName map[string]*namespace // by idmap.Mapping.Name
	}
}

type namespace struct {
	users int // guarded by namespaces.mu; never zero

	make sync.Once
	file *os.File // written by make
	err  error    // written by make
}

// acquire returns the namespace with the mapping ids, until release.
func (n *namespaces) acquire(ids idmap.Mapping) (*os.File, error) {
	n.mu.Lock()
	ns := n.mu.byName[ids.Name()]
	if ns == nil {
		ns = &namespace{}
		n.mu.byName[ids.Name()] = ns
	}
	ns.users++
	n.mu.Unlock()
	ns.make.Do(func() { ns.file, ns.err = ids.Namespace() })
	if ns.err != nil {
		_ = n.release(ids) // it has no file to close
		return nil, ns.err
	}
	return ns.file, nil
}

// release reverts one acquire.
func (n *namespaces) release(ids idmap.Mapping) error {
	n.mu.Lock()
	ns := n.mu.byName[ids.Name()]
	ns.users--
	last := ns.users == 0
	if last {
		delete(n.mu.byName, ids.Name())
	}
	n.mu.Unlock()
	if !last || ns.file == nil {
		return nil
	}
	return ns.file.Close()
}
