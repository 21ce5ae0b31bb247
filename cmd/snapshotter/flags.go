package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"

	"github.com/ladle-dev/ladle/config"
)

// serveConfig returns the configuration of serve with the flags args.
func serveConfig(args []string, stderr io.Writer) (config.Config, error) {
	flags := flag.NewFlagSet("ladle serve", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var (
		path    = flags.String("config", config.DefaultPath, "configuration `FILE`; the default one need not exist")
		root    = flags.String("root", "", "`DIR` of all state, in place of the file's root")
		address = flags.String("address", "", "`SOCKET` of the main endpoint, in place of the file's address")
		level   = flags.String("log-level", "", "`LEVEL` in place of the file's log.level: trace, debug, info, warn or error")
	)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return config.Config{}, err
		}
		return config.Config{}, wrongUsage
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "ladle serve: unexpected %q\n", flags.Arg(0))
		return config.Config{}, wrongUsage
	}
	cfg, err := config.Load(*path)
	if errors.Is(err, fs.ErrNotExist) && *path == config.DefaultPath {
		cfg, err = config.Default(), nil
	}
	if err != nil {
		return config.Config{}, err
	}
	override(&cfg.Root, *root)
	override(&cfg.Address, *address)
	override(&cfg.Log.Level, *level)
	return cfg, cfg.Validate()
}

func override(setting *string, flag string) {
	if flag != "" {
		*setting = flag
	}
}

// checkConfig validates the configuration file that args names, or the default one.
func checkConfig(args []string, stdout io.Writer) error {
	path := config.DefaultPath
	if len(args) > 0 {
		path = args[0]
	}
	if len(args) > 1 {
		return errors.New("check-config takes one file")
	}
	if _, err := config.Load(path); err != nil {
		return err
	}
	_, err := fmt.Fprintf(stdout, "%s: ok\n", path)
	return err
}
