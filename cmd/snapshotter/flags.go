package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/urfave/cli/v3"

	"github.com/ladle-dev/ladle/config"
)

// serveConfig returns the configuration of serve with the flags of cmd.
func serveConfig(cmd *cli.Command) (config.Config, error) {
	if _, err := arguments(cmd); err != nil {
		return config.Config{}, err
	}
	cfg, err := loadConfig(cmd)
	if err != nil {
		return config.Config{}, err
	}
	override(&cfg.Root, cmd.String("root"))
	override(&cfg.Address, cmd.String("address"))
	override(&cfg.Log.Level, cmd.String("log-level"))
	return cfg, cfg.Validate()
}

// loadConfig returns the configuration of the file that --config names.
func loadConfig(cmd *cli.Command) (config.Config, error) {
	path := cmd.String("config")
	cfg, err := config.Load(path)
	if errors.Is(err, fs.ErrNotExist) && path == config.DefaultPath {
		return config.Default(), nil
	}
	return cfg, err
}

func override(setting *string, flag string) {
	if flag != "" {
		*setting = flag
	}
}

// checkConfig validates the configuration file that the argument names, or the default one.
func checkConfig(cmd *cli.Command) error {
	path := config.DefaultPath
	switch args := cmd.Args().Slice(); len(args) {
	case 0:
	case 1:
		path = args[0]
	default:
		return usageError{cmd.FullName(), "it takes one file"}
	}
	if _, err := config.Load(path); err != nil {
		return err
	}
	_, err := fmt.Fprintf(cmd.Root().Writer, "%s: ok\n", path)
	return err
}
