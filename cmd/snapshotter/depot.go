package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/log"
	"github.com/containerd/platforms"
	"github.com/urfave/cli/v3"

	"github.com/ladle-dev/ladle/config"
	"github.com/ladle-dev/ladle/depot"
	"github.com/ladle-dev/ladle/fetch"
)

// pushTimeout is how long a registry may take to answer when a blob was sent to it.
const pushTimeout = 10 * time.Minute

// configuredDepot is newDepot with the configuration that the command line names.
func configuredDepot(ctx context.Context, cmd *cli.Command) (depot.Depot, error) {
	cfg, err := loadConfig(cmd)
	if err != nil {
		return depot.Depot{}, err
	}
	return newDepot(ctx, cfg)
}

// newDepot returns the depot for commands that work on images: with the registries and
// credentials that the daemon has by its configuration.
func newDepot(ctx context.Context, cfg config.Config) (depot.Depot, error) {
	if err := log.SetLevel("warn"); err != nil {
		return depot.Depot{}, err
	}
	opts := configuredHosts(cfg, newCredentials(cfg.Credentials, nil, nil).sources)
	slow := opts
	slow.RequestTimeout = max(slow.RequestTimeout, pushTimeout)
	return depot.Depot{
		Client: fetch.New(fetch.Hosts(ctx, opts), fetchOptions(cfg)),
		Push:   fetch.Hosts(ctx, slow),
	}, nil
}

// reference reads an argument of a command.
func reference(cmd *cli.Command, arg string) (depot.Reference, error) {
	ref, err := depot.Parse(arg)
	if err != nil {
		return ref, usageError{cmd.FullName(), err.Error()}
	}
	return ref, nil
}

// anyPlatform is the name for all platforms.
const anyPlatform = "all"

// platformFlag says for which platforms images of an index are meant.
func platformFlag(value string) cli.Flag {
	return &cli.StringSliceFlag{
		Name: "platform", Value: []string{value},
		Usage: "`PLATFORM` of an index, such as linux/arm64, or \"all\"; may be given several times",
	}
}

// wantedPlatforms returns what matches the platforms that the flag names; nil for all.
func wantedPlatforms(cmd *cli.Command) (platforms.Matcher, error) {
	names := cmd.StringSlice("platform")
	if slices.Contains(names, anyPlatform) {
		return nil, nil
	}
	var all anyOf
	for _, name := range names {
		p, err := platforms.Parse(name)
		if err != nil {
			return nil, usageError{cmd.FullName(), fmt.Sprintf("--platform %s: %v", name, err)}
		}
		all = append(all, platforms.OnlyStrict(p))
	}
	return all, nil
}

type anyOf []platforms.MatchComparer

func (a anyOf) Match(p platforms.Platform) bool {
	return slices.ContainsFunc(a, func(m platforms.MatchComparer) bool { return m.Match(p) })
}

// bytesText returns a number of bytes in the unit in which it has three digits.
func bytesText(n int64) string {
	const units = "kMGTPE"
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n)/1000, 0
	for f >= 999.95 && unit < len(units)-1 {
		f, unit = f/1000, unit+1
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") + " " + units[unit:unit+1] + "B"
}
