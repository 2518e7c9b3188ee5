package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func tree(t *testing.T, files ...string) string {
	t.Helper()
	root := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		p := filepath.Join(root, filepath.FromSlash(files[i]))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestFindModules(t *testing.T) {
	root := tree(t, "go.mod", "", "a/go.mod", "", "a/b/c/go.mod", "", "d/testdata/go.mod", "", "e/x.go", "")
	got, err := findModules(root)
	if err != nil || !slices.Equal(got, []string{".", "a", "a/b/c"}) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestFindFuzz(t *testing.T) {
	root := tree(
		t, "go.mod", "",
		"a/a_test.go", "package a\nfunc FuzzB(f *testing.F) {}\nfunc TestX(t *testing.T) {}\nfunc FuzzA(f *testing.F) {}\n",
		"a/b_test.go", "package a_test\nfunc FuzzC(f *testing.F) {}\nfunc (x) FuzzD(f *testing.F) {}\nfunc FuzzE() {}\n",
		"n/go.mod", "", "n/n_test.go", "package n\nfunc FuzzN(f *testing.F) {}\n",
	)
	got, err := findFuzz(root)
	if err != nil || len(got) != 1 || !slices.Equal(got["a"], []string{"FuzzB", "FuzzA", "FuzzC"}) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestChoose(t *testing.T) {
	f := func(short bool, only string, want ...string) {
		t.Helper()
		got, err := choose(short, only)
		var names []string
		for _, s := range got {
			names = append(names, s.name)
		}
		if (err != nil) != (want == nil) || !slices.Equal(names, want) {
			t.Errorf("choose(%v, %q) = %q, %v", short, only, names, err)
		}
	}
	f(false, "lint,vet", "vet", "lint")
	f(true, "fuzz", "fuzz")
	f(false, "nonsense")
	f(true, "", "format", "vet", "fix", "lint", "staticcheck", "deadcode", "test", "nested", "outside")
	f(false, "", "format", "vet", "fix", "lint", "staticcheck", "deadcode", "test", "nested", "simulate", "root", "race", "cross", "outside", "fuzz")
}

// A step fails, rather than passing over it, when its tool cannot be had.
func TestMissingToolFails(t *testing.T) {
	root := tree(t, "go.mod", "module m\n\ngo 1.26.0\n", "tools/lint/go.mod", "module l\n\ngo 1.26.0\n")
	c := &ci{root: root, modules: []string{"."}}
	for _, s := range []func(*ci, io.Writer) error{(*ci).format, (*ci).staticcheck, (*ci).deadcode} {
		var out strings.Builder
		if err := s(c, &out); err == nil || !strings.Contains(err.Error(), "cannot build") {
			t.Errorf("got %v %q", err, out.String())
		}
	}
}

// The engine's own deadline is tried again, a real failure is not.
func TestFuzzDeadline(t *testing.T) {
	f := func(script string, runs int, fails bool) {
		t.Helper()
		c := &ci{root: t.TempDir()}
		err := c.fuzzOne(".", io.Discard, []string{"sh", "-c", "echo run >> runs; " + script})
		log, _ := os.ReadFile(filepath.Join(c.root, "runs"))
		if n := strings.Count(string(log), "run"); n != runs || (err != nil) != fails {
			t.Errorf("%q: %d runs, %v", script, n, err)
		}
	}
	f("true", 1, false)
	f("echo context deadline exceeded; test $(wc -l < runs) = 2", 2, false)
	f("echo context deadline exceeded; false", 3, true)
	f("echo Failing input written; echo context deadline exceeded; false", 1, true)
	f("false", 1, true)
}

// The share that the simulation covers must be said, and be large enough.
func TestCoveredEnough(t *testing.T) {
	f := func(said string, ok bool) {
		t.Helper()
		if err := coveredEnough(said); (err == nil) != ok {
			t.Errorf("%q: %v", said, err)
		}
	}
	f("ok  	x/node/sim	9.1s	coverage: 90.0% of statements in ./node/raft/..., ./node/replica/...\n", true)
	f("ok  	x/node/sim	9.1s	coverage: 89.9% of statements in ./node/raft/..., ./node/replica/...\n", false)
	f("ok  	x/node/sim	9.1s\n", false)
}
