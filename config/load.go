package config

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Load reads the file at path over the defaults and validates the result. The error names
// every unknown key with its line, or else every broken rule; it is fs.ErrNotExist if there
// is no such file.
func Load(path string) (Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, err
	}
	c, err := Parse(path, string(text))
	if err != nil {
		return Config{}, err
	}
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Parse reads text, the content of the file path, over the defaults. It only checks that
// each key is known and has a value of its type.
func Parse(path, text string) (Config, error) {
	c := Default()
	err := toml.NewDecoder(strings.NewReader(text)).DisallowUnknownFields().Decode(&c)
	var unknown *toml.StrictMissingError
	var wrong *toml.DecodeError
	switch {
	case err == nil:
		return c, nil
	case errors.As(err, &unknown):
		return Config{}, explainUnknown(path, unknown.Errors)
	case errors.As(err, &wrong):
		line, _ := wrong.Position()
		return Config{}, fmt.Errorf("%s:%d: %s%s", path, line, keyPrefix(wrong), strings.TrimPrefix(wrong.Error(), "toml: "))
	default:
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
}

func keyPrefix(err *toml.DecodeError) string {
	if len(err.Key()) == 0 {
		return ""
	}
	return strings.Join(err.Key(), ".") + ": "
}

func explainUnknown(path string, unknown []toml.DecodeError) error {
	known := knownKeys()
	var problems []error
	for _, u := range unknown {
		line, _ := u.Position()
		key := strings.Join(u.Key(), ".")
		hint := fmt.Sprintf("the nearest known key is %q", known.nearest(u.Key()))
		if why := withoutCounterpart(key); why != "" {
			hint = "stargz-snapshotter's key has no counterpart: " + why
		}
		problems = append(problems, fmt.Errorf("%s:%d: unknown key %q: %s", path, line, key, hint))
	}
	return errors.Join(problems...)
}
