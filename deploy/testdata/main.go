package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// kinds makes an empty object of each kind that the chart has.
var kinds = map[string]func() metav1.Object{
	"v1 ConfigMap":                            func() metav1.Object { return &corev1.ConfigMap{} },
	"v1 Service":                              func() metav1.Object { return &corev1.Service{} },
	"apps/v1 DaemonSet":                       func() metav1.Object { return &appsv1.DaemonSet{} },
	"node.k8s.io/v1 RuntimeClass":             func() metav1.Object { return &nodev1.RuntimeClass{} },
	"monitoring.coreos.com/v1 PodMonitor":     func() metav1.Object { return &monitoringv1.PodMonitor{} },
	"monitoring.coreos.com/v1 ServiceMonitor": func() metav1.Object { return &monitoringv1.ServiceMonitor{} },
	"monitoring.coreos.com/v1 PrometheusRule": func() metav1.Object { return &monitoringv1.PrometheusRule{} },
}

func main() {
	text, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = check(text, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// check compares all objects of a text, and prints what they are.
func check(text []byte, out io.Writer) error {
	var problems []error
	objects := 0
	for document := range bytes.SplitSeq(text, []byte("\n---\n")) {
		var what metav1.TypeMeta
		if err := yaml.Unmarshal(document, &what); err != nil {
			return err
		}
		if what.Kind == "" {
			continue // comments
		}
		objects++
		o, err := decode(document, what)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", what.Kind, err))
			continue
		}
		fmt.Fprintf(out, "  %s %s\n", what.Kind, o.GetName())
	}
	if objects == 0 {
		problems = append(problems, errors.New("there are no objects"))
	}
	return errors.Join(problems...)
}

func decode(document []byte, what metav1.TypeMeta) (metav1.Object, error) {
	empty, ok := kinds[what.APIVersion+" "+what.Kind]
	if !ok {
		return nil, fmt.Errorf("there is no such kind in %s", what.APIVersion)
	}
	text, err := yaml.YAMLToJSONStrict(document)
	if err != nil {
		return nil, err
	}
	o := empty()
	// As the API server reads it: with the case of names, which encoding/json ignores.
	problems, err := json.UnmarshalStrict(text, o)
	if err != nil {
		return nil, err
	}
	problems = append(problems, names(o)...)
	if d, ok := o.(*appsv1.DaemonSet); ok {
		problems = append(problems, pods(d)...)
	}
	return o, errors.Join(problems...)
}

// names checks the name, labels and annotations of an object by the rules of Kubernetes.
func names(o metav1.Object) (problems []error) {
	for _, p := range validation.IsDNS1123Subdomain(o.GetName()) {
		problems = append(problems, fmt.Errorf("name %q: %s", o.GetName(), p))
	}
	for _, e := range metavalidation.ValidateLabels(o.GetLabels(), field.NewPath("labels")) {
		problems = append(problems, e)
	}
	return problems
}

// pods checks what the pods of the DaemonSet do to their node.
func pods(d *appsv1.DaemonSet) (problems []error) {
	spec := d.Spec.Template.Spec
	for key, value := range d.Spec.Selector.MatchLabels {
		if d.Spec.Template.Labels[key] != value {
			problems = append(problems, fmt.Errorf("pods without the label %s=%s are not selected", key, value))
		}
	}
	for _, e := range metavalidation.ValidateLabels(d.Spec.Template.Labels, field.NewPath("labels of pods")) {
		problems = append(problems, e)
	}
	if !spec.HostPID {
		problems = append(problems, errors.New("process 1 of a pod is not that of the host"))
	}
	if token := spec.AutomountServiceAccountToken; token == nil || *token {
		problems = append(problems, errors.New("pods have a token for the API server"))
	}
	containers := slices.Concat(spec.InitContainers, spec.Containers)
	for _, c := range containers {
		if len(c.Command) > 0 || len(c.Args) < 2 || c.Args[0] != "install" || c.Args[1] != "--enter=1" {
			problems = append(problems, fmt.Errorf("container %s runs %s", c.Name, strings.Join(append(c.Command, c.Args...), " ")))
		}
		if c.SecurityContext == nil || c.SecurityContext.Privileged == nil || !*c.SecurityContext.Privileged {
			problems = append(problems, fmt.Errorf("container %s cannot enter the host", c.Name))
		}
		if strings.HasSuffix(c.Image, ":") || strings.HasSuffix(c.Image, "@") {
			problems = append(problems, fmt.Errorf("container %s has the image %s", c.Name, c.Image))
		}
		for _, m := range c.VolumeMounts {
			if !slices.ContainsFunc(spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name }) {
				problems = append(problems, fmt.Errorf("container %s mounts %s, which is no volume", c.Name, m.Name))
			}
		}
	}
	return problems
}
