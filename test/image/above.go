package image

import (
	"archive/tar"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// BusyboxConfig is the configuration of images in which a shell runs on busybox.
func BusyboxConfig() v1.Config { return busyboxConfig }

// OnBusybox puts the given layers on a layer with busybox, a link to it for each of its
// programs in /bin, and the directories of a root filesystem.
func OnBusybox(above ...Layer) ([]Layer, error) { return layersWithBusybox(above...) }

// File is one regular file of a layer of Files.
type File struct {
	Name    string // without the leading slash
	Mode    int64
	Content []byte
}

// Files is a layer of regular files, and of the directories that are above them.
func Files(files ...File) Layer {
	return func(w *tar.Writer) error {
		made := map[string]bool{}
		for _, f := range files {
			for i, c := range f.Name {
				if above := f.Name[:i]; c == '/' && !made[above] {
					made[above] = true
					if err := put(w, dir(above, 0o755), ""); err != nil {
						return err
					}
				}
			}
			if err := put(w, reg(f.Name, f.Mode, 0), string(f.Content)); err != nil {
				return err
			}
		}
		return nil
	}
}
