package kubelet

import (
	"encoding/json"
	"fmt"
)

// Pod is a static pod in the host's network.
type Pod struct {
	Name       string
	Containers []Container
	// Volumes are image volumes: the reference of the image by the volume's name.
	Volumes map[string]string
}

// Container is one container of a pod.
type Container struct {
	Name, Image string
	Command     []string
	Mounts      []Mount
}

// Mount puts a volume of the pod at a path of a container.
type Mount struct {
	Volume, Path string
	SubPath      string // of the volume; "" is all of it
}

type object = map[string]any

// manifest is the pod as kubelet reads it.
func (p Pod) manifest() ([]byte, error) {
	var containers, volumes []object
	for _, c := range p.Containers {
		var mounts []object
		for _, m := range c.Mounts {
			mounts = append(mounts, object{"name": m.Volume, "mountPath": m.Path, "subPath": m.SubPath, "readOnly": true})
		}
		containers = append(containers, object{
			"name": c.Name, "image": c.Image, "command": c.Command, "imagePullPolicy": "IfNotPresent", "volumeMounts": mounts,
		})
	}
	for name, reference := range p.Volumes {
		volumes = append(volumes, object{"name": name, "image": object{"reference": reference, "pullPolicy": "IfNotPresent"}})
	}
	text, err := json.Marshal(object{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": object{"name": p.Name, "namespace": namespace},
		"spec": object{
			"hostNetwork": true, "terminationGracePeriodSeconds": 1,
			"containers": containers, "volumes": volumes,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("kubelet: %w", err)
	}
	return text, nil
}

// namespace is the one of all pods.
const namespace = "default"
