package kubelet

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// RemovePods ends and removes all pods of the container runtime that listens on the socket.
// A kubelet that runs would start them again.
func RemovePods(ctx context.Context, socket string) error {
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("kubelet: %w", err)
	}
	defer conn.Close()
	runtime := cri.NewRuntimeServiceClient(conn)
	pods, err := runtime.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
	if err != nil {
		return fmt.Errorf("kubelet: %w", err)
	}
	var errs []error
	for _, pod := range pods.Items {
		_, err := runtime.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: pod.Id})
		errs = append(errs, err)
		_, err = runtime.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: pod.Id})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
