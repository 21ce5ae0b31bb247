package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"
)

// maxDocument bounds a configuration file of Kubernetes, in bytes.
const maxDocument = 1 << 20

// readDocument decodes the file at path, YAML or JSON, into *to by the json tags of its type.
// Errors do not contain what is in the file: it may have secrets.
func readDocument(path string, to any) error {
	if _, err := stampOf(path); err != nil { // a pipe would block
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err != nil {
		return err
	}
	if len(text) > maxDocument {
		return fmt.Errorf("%s: more than %d bytes", path, maxDocument)
	}
	if decodeDocument(text, to) != nil {
		return fmt.Errorf("%s: not understood", path)
	}
	return nil
}

// decodeDocument is readDocument for the content of a file. The error may contain parts of it.
func decodeDocument(text []byte, to any) error {
	if json.Valid(text) { // the YAML parser refuses JSON with tabs
		return json.Unmarshal(text, to)
	}
	var content any
	if err := yaml.Unmarshal(text, &content); err != nil {
		return err
	}
	plain, err := json.Marshal(content)
	if err != nil {
		return err
	}
	return json.Unmarshal(plain, to)
}

// stampOf returns a text that changes when one of the files does.
func stampOf(files ...string) (string, error) {
	stamp := ""
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			return "", err
		}
		if !info.Mode().IsRegular() {
			return "", fmt.Errorf("%s: %w", f, errors.New("not a regular file"))
		}
		stamp += fmt.Sprintf("%s %d %d\n", filepath.Base(f), info.Size(), info.ModTime().UnixNano())
	}
	return stamp, nil
}
