package config

import (
	"reflect"
	"slices"
	"strings"
)

// anyName is the part of a key that is a name of the user's: resolver.host.*.mirrors.
const anyName = "*"

// keys are the keys and tables that the file may have, each split at its dots.
type keys [][]string

// knownKeys returns every key and table of Config, in order.
func knownKeys() keys {
	var all keys
	all.collect(nil, reflect.TypeFor[Config]())
	return all
}

func (k *keys) collect(prefix []string, t reflect.Type) {
	switch t.Kind() {
	case reflect.Slice:
		k.collect(prefix, t.Elem())
	case reflect.Map:
		name := append(slices.Clone(prefix), anyName)
		*k = append(*k, name)
		k.collect(name, t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			k.collectField(prefix, t.Field(i))
		}
	}
}

func (k *keys) collectField(prefix []string, f reflect.StructField) {
	if f.Anonymous {
		k.collect(prefix, f.Type)
		return
	}
	key := append(slices.Clone(prefix), f.Tag.Get("toml"))
	*k = append(*k, key)
	k.collect(key, f.Type)
}

// has reports whether path is a key or table.
func (k keys) has(path []string) bool {
	return slices.ContainsFunc(k, func(key []string) bool { return matches(key, path) })
}

// matches reports whether path equals key, of which a part anyName equals any name.
func matches(key, path []string) bool {
	return slices.EqualFunc(key, path, func(part, name string) bool {
		return part == anyName || part == name
	})
}

// nearest returns the known key that is most similar to the unknown key path: the distance
// from the unknown part of path to the last part of the key is the smallest, where one is
// added if the tables differ.
func (k keys) nearest(path []string) string {
	n := 1
	for n < len(path) && k.has(path[:n]) {
		n++
	}
	path = path[:n]
	best, least := "", -1
	for _, key := range k {
		last := key[len(key)-1]
		if last == anyName {
			continue
		}
		edits := distance(path[n-1], last)
		if !matches(key[:len(key)-1], path[:n-1]) {
			edits++
		}
		if least < 0 || edits < least {
			best, least = strings.Join(key, "."), edits
		}
	}
	return best
}

// distance returns the number of bytes to insert, delete or replace to turn a into b
// (Levenshtein distance).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
