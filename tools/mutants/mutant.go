package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// mutant is one fault to plant.
type mutant struct {
	name   string
	class  string // see the package documentation
	by     string // the check that has to find it
	breaks string // what it breaks, in a line
	// equal argues why no check can tell the mutant from the code; "" for all
	// but a few.
	equal string
	edits []edit
}

// edit replaces one piece of a source file.
type edit struct {
	file string // below the root
	old  string // stands exactly once in the file
	new  string
}

// allMutants returns the whole list.
func allMutants() []mutant {
	return slices.Concat(electionMutants, replicationMutants, readMutants, memberMutants, replicaMutants, walMutants, recoveryMutants, clientMutants)
}

// mutated returns the changed text of each file that the mutant touches.
func (m *mutant) mutated(root string) (map[string]string, error) {
	texts := map[string]string{}
	for _, e := range m.edits {
		text, ok := texts[e.file]
		if !ok {
			b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(e.file)))
			if err != nil {
				return nil, fmt.Errorf("cannot plant %s: %w", m.name, err)
			}
			text = string(b)
		}
		if n := strings.Count(text, e.old); n != 1 {
			return nil, fmt.Errorf("cannot plant %s: %s holds the piece to replace %d times: the list has to follow the code", m.name, e.file, n)
		}
		texts[e.file] = strings.Replace(text, e.old, e.new, 1)
	}
	return texts, nil
}
