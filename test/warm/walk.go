package warm

import "os/exec"

// walk is find with the attributes of every file, in each state.
func walk(paths []string, _ int) ([]Times, error) {
	p := walkOf(paths)
	cold, err := p.cold(len(paths), dropAll)
	if err != nil {
		return nil, err
	}
	names, err := p.cold(len(paths), dropNames)
	if err != nil {
		return nil, err
	}
	warm, err := p.warm(len(paths))
	if err != nil {
		return nil, err
	}
	times := make([]Times, len(paths))
	for i := range paths {
		times[i] = Times{allCold: cold[i], namesCold: names[i], warmed: warm[i]}
	}
	return times, nil
}

// rewalk is walk with names cold alone, where nothing has read the files.
func rewalk(paths []string, _ int) ([]Times, error) {
	names, err := walkOf(paths).cold(len(paths), dropNames)
	if err != nil {
		return nil, err
	}
	times := make([]Times, len(paths))
	for i := range paths {
		times[i] = Times{namesCold: names[i]}
	}
	return times, nil
}

func walkOf(paths []string) pass { return func(i int) error { return find(paths[i]) } }

func find(path string) error {
	return exec.Command("find", path, "-xdev", "-printf", "%s %m %U").Run()
}

// loadFind has the program in the page cache.
func loadFind() error { return find("/dev/null") }
