package install

import (
	"fmt"
	"path"
	"reflect"
	"regexp"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// importedDir returns the first directory of which a configuration of containerd at file imports
// all *.toml files, or "".
func importedDir(file string, imports []string) string {
	for _, i := range imports {
		if !path.IsAbs(i) {
			i = path.Join(path.Dir(file), i)
		}
		if dir, name := path.Split(path.Clean(i)); name == "*.toml" && !strings.Contains(dir, "*") {
			return path.Clean(dir)
		}
	}
	return ""
}

var (
	importsLine = regexp.MustCompile(`(?m)^[ \t]*imports[ \t]*=[ \t]*\[`)
	tableLine   = regexp.MustCompile(`(?m)^[ \t]*\[`)
)

const importsComment = "# Drop-ins; this line was added by ladle install."

// addImport returns a configuration of containerd that also imports pattern, and nothing else
// is different.
func addImport(text, pattern string) (string, error) {
	if strings.TrimSpace(text) == "" {
		text = "version = 3\n"
	}
	var before map[string]any
	if err := toml.Unmarshal([]byte(text), &before); err != nil {
		return "", err
	}
	top := len(text) // where the keys of the topmost table end
	if at := tableLine.FindStringIndex(text); at != nil {
		top = at[0]
	}
	var edited string
	imports, _ := before["imports"].([]any)
	if at := importsLine.FindStringIndex(text[:top]); at != nil {
		entry := fmt.Sprintf("%q", pattern)
		if len(imports) > 0 {
			entry += ", "
		}
		edited = text[:at[1]] + entry + text[at[1]:]
	} else {
		edited = fmt.Sprintf("%s\nimports = [%q]\n\n%s", importsComment, pattern, text)
	}
	var after map[string]any
	if err := toml.Unmarshal([]byte(edited), &after); err != nil {
		return "", fmt.Errorf("imports cannot be added: %w", err)
	}
	want := append([]any{pattern}, imports...)
	if !reflect.DeepEqual(after["imports"], want) {
		return "", fmt.Errorf("imports cannot be added: add %q to imports by hand", pattern)
	}
	delete(before, "imports")
	delete(after, "imports")
	if !reflect.DeepEqual(before, after) {
		return "", fmt.Errorf("imports cannot be added without changing other settings: add %q to imports by hand", pattern)
	}
	return edited, nil
}

const templateBase = "{{ template \"base\" . }}\n"

// importInTemplate returns a template of a configuration that also imports pattern.
func importInTemplate(text, pattern string) string {
	if strings.TrimSpace(text) == "" {
		text = templateBase
	}
	top := len(text)
	if at := tableLine.FindStringIndex(text); at != nil {
		top = at[0]
	}
	if at := importsLine.FindStringIndex(text[:top]); at != nil {
		return fmt.Sprintf("%s%q, %s", text[:at[1]], pattern, text[at[1]:])
	}
	return fmt.Sprintf("%s\nimports = [%q]\n\n%s", importsComment, pattern, text)
}

// extendsGenerated reports whether a template contains what k3s generates by itself, which may
// import files, too, in the next version of k3s: a key that is there twice is an error.
func extendsGenerated(text string) bool {
	return strings.TrimSpace(text) == "" || strings.Contains(text, "\"base\"")
}
