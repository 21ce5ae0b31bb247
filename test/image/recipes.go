package image

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Recipes lists everything that Cache.Image can make.
func Recipes() []Recipe {
	return slices.Concat([]Recipe{debianPython, debianScipy, busybox, shell, pause, twice}, hostileRecipes, steadyRecipes)
}

func recipeNamed(name string) (Recipe, error) {
	var known []string
	for _, r := range Recipes() {
		if r.Name == name {
			return r, nil
		}
		known = append(known, r.Name)
	}
	return Recipe{}, fmt.Errorf("image: no recipe %q; there are %s", name, strings.Join(known, ", "))
}

// Env is what a recipe may use while it works.
type Env struct {
	Context context.Context
	Name    string // of the recipe
	Dir     string // empty directory, removed after the layers were written
	Log     func(format string, args ...any)
	closers *[]io.Closer
}

// onClose keeps c open until the layers have been written.
func (e Env) onClose(c io.Closer) { *e.closers = append(*e.closers, c) }
