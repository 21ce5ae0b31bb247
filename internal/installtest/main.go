package main

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	parts "github.com/ladle-dev/ladle"
	"github.com/ladle-dev/ladle/install"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: installtest PROGRAM STEP [undo]")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], len(os.Args) > 3); err != nil {
		fmt.Fprintln(os.Stderr, "installtest:", err)
		os.Exit(1)
	}
}

func run(path, last string, undo bool) error {
	program, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	o := install.Options{
		Files:    install.Files{Version: "test", Program: program, Config: parts.ExampleConfig, Unit: parts.Unit, DropIn: parts.ContainerdDropIn},
		Daemon:   install.Daemon{Address: "/run/ladle/ladle.sock", Root: "/var/lib/ladle", Config: "/etc/ladle/config.toml"},
		Services: install.Systemctl{},
		Step: func(step string) {
			if last == "?" {
				fmt.Println(step)
			}
			if step == last {
				_ = unix.Kill(os.Getpid(), unix.SIGKILL) // it does not return
			}
		},
	}
	if undo {
		_, err = install.Undo(context.Background(), o)
	} else {
		_, err = install.Install(context.Background(), o)
	}
	return err
}
