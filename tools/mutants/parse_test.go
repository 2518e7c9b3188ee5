package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestRead holds what is made of outputs to golden files. Each testdata/*.txt is
// a check's name and an exit code in the first line, then the output as it was.
func TestRead(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(names) < 9 {
		t.Fatalf("%d outputs: %v", len(names), err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		head, out, _ := strings.Cut(string(b), "\n")
		var by string
		exit := 0
		if _, err := fmt.Sscanf(head, "%s %d", &by, &exit); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		v := read(findCheck(by), out, exit)
		got := fmt.Sprintf("outcome   %s\nseed      %s\ntest      %s\nproperty  %s\nshown     %s\n", v.Outcome, v.Seed, v.Test, v.Property, v.String())
		golden := strings.TrimSuffix(name, ".txt") + ".golden"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(golden)
		if err != nil || got != string(want) {
			t.Errorf("%s:\n%swant\n%s%v", name, got, want, err)
		}
	}
}
