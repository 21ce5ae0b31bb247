// Command image makes test images and puts them in a registry.
//
//	image list                            the recipes and the formats
//	image build NAME...                   make the images, in the cache
//	image push NAME REF                   make and push one image
//	image copy SOURCE REF                 copy and convert an image of a registry
//
// Every command takes -format before the names (default estargz). Registries on
// a loopback address are spoken to over plain HTTP.
//
//	go run ./cmd/image push -format zstdchunked debian-python 127.0.0.1:5000/python:z
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/ladle-dev/ladle/test/command"
	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/report"
)

func main() {
	command.Main(func(ctx context.Context) error { return run(ctx, os.Args[1:]) })
}

var errUsage = errors.New("usage: image list | build [-format F] NAME... | push [-format F] NAME REF | copy [-format F] SOURCE REF")

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	flags := flag.NewFlagSet("image "+args[0], flag.ContinueOnError)
	format := flags.String("format", string(image.EStargz), fmt.Sprint("one of ", image.Formats()))
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	cache, err := image.DefaultCache()
	if err != nil {
		return err
	}
	cache.Log = report.NewProgress(os.Stderr).Say
	names, f := flags.Args(), image.Format(*format)
	switch {
	case args[0] == "list":
		return list()
	case args[0] == "build":
		for _, name := range names {
			if _, err := cache.Image(ctx, name, f); err != nil {
				return err
			}
		}
		return nil
	case args[0] == "push" && len(names) == 2:
		img, err := cache.Image(ctx, names[0], f)
		if err != nil {
			return err
		}
		return img.Push(ctx, names[1])
	case args[0] == "copy" && len(names) == 2:
		img, err := cache.Copy(ctx, names[0], f)
		if err != nil {
			return err
		}
		return img.Push(ctx, names[1])
	default:
		return errUsage
	}
}

func list() error {
	for _, r := range image.Recipes() {
		fmt.Printf("%-22s %s\n", r.Name, r.About)
	}
	fmt.Println("\nformats:")
	for _, f := range image.Formats() {
		fmt.Println(" ", f)
	}
	return nil
}
