package worker

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Step is one step of a build. A merge is a step that takes its time when
// another one needs its result.
type Step struct {
	Name    string
	began   time.Time
	Took    time.Duration
	Merging time.Duration // 0 unless it is a merge that was made
}

// progress is one line of buildctl's --progress=rawjson (BuildKit,
// client.SolveStatus).
type progress struct {
	Vertexes []struct {
		Digest, Name       string
		Started, Completed *time.Time
		Cached             bool
	} `json:"vertexes"`
	Statuses []struct {
		ID                 string
		Vertex             string
		Started, Completed *time.Time
	} `json:"statuses"`
}

// steps reads the lines of rawjson.
func steps(lines string) ([]Step, error) {
	ran := map[string]Step{}
	merged := map[string]time.Duration{}
	for line := range strings.Lines(lines) {
		if !strings.HasPrefix(line, "{") { // a warning of buildctl's own
			continue
		}
		var p progress
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			return nil, fmt.Errorf("worker: progress of a build: %w", err)
		}
		for _, v := range p.Vertexes {
			if v.Started != nil && v.Completed != nil && !v.Cached {
				ran[v.Digest] = Step{Name: v.Name, began: *v.Started, Took: v.Completed.Sub(*v.Started)}
			}
		}
		for _, s := range p.Statuses {
			if s.ID == "merging" && s.Started != nil && s.Completed != nil {
				merged[s.Vertex] = s.Completed.Sub(*s.Started)
			}
		}
	}
	var all []Step
	for digest, step := range ran {
		step.Merging = merged[digest]
		all = append(all, step)
	}
	slices.SortFunc(all, func(a, b Step) int { return a.began.Compare(b.began) })
	return all, nil
}
