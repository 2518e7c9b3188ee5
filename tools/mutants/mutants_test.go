package main

import (
	"errors"
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dnode-engine/dnode/tools/internal/repo"
)

// TestEveryMutantAppliesAndCompiles type-checks each mutant instead of building
// it: seconds for all of them.
func TestEveryMutantAppliesAndCompiles(t *testing.T) {
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	list := allMutants()
	c := newCompiler(t, root, list)
	names := map[string]bool{}
	for _, m := range list {
		if names[m.name] {
			t.Errorf("%s stands in the list twice", m.name)
		}
		names[m.name] = true
		if findCheck(m.by) == nil || m.class == "" || m.breaks == "" || len(m.edits) == 0 {
			t.Errorf("%s: check %q, class %q, %d edits, %q", m.name, m.by, m.class, len(m.edits), m.breaks)
		}
		texts, err := m.mutated(root)
		if err != nil {
			t.Error(err)
			continue
		}
		if err := c.check(texts); err != nil {
			t.Errorf("%s does not compile: %v", m.name, err)
		}
	}
}

func TestEnoughMutantsAndFewClaims(t *testing.T) {
	claimed := 0
	for _, m := range allMutants() {
		if m.equal != "" {
			claimed++
		}
	}
	if n := len(allMutants()); n < 45 || claimed > 3 {
		t.Errorf("%d mutants, at least 45 are wanted; %d claimed to be equal, at most 3 are allowed", n, claimed)
	}
}

// compiler type-checks packages with some files replaced.
type compiler struct {
	root string
	fset *token.FileSet
	imp  types.Importer
	asIs map[string][]*ast.File // parsed files by folder, as they ship
	at   map[string][]string    // their paths
}

func newCompiler(t *testing.T, root string, list []mutant) *compiler {
	t.Helper()
	c := &compiler{root: root, fset: token.NewFileSet(), asIs: map[string][]*ast.File{}, at: map[string][]string{}}
	args := []string{"list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}"}
	for _, m := range list {
		for _, e := range m.edits {
			if dir := "./" + path.Dir(e.file); !slices.Contains(args, dir) {
				args = append(args, dir)
			}
		}
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	exports := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if name, file, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			exports[name] = file
		}
	}
	c.imp = importer.ForCompiler(c.fset, "gc", func(name string) (io.ReadCloser, error) { return os.Open(exports[name]) })
	return c
}

// check type-checks every package that has a file among texts.
func (c *compiler) check(texts map[string]string) error {
	var errs []error
	dirs := map[string]bool{}
	for file := range texts {
		dirs[path.Dir(file)] = true
	}
	for dir := range dirs {
		files, err := c.files(dir, texts)
		if err != nil {
			return err
		}
		conf := types.Config{Importer: c.imp}
		_, err = conf.Check(dir, c.fset, files, nil)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c *compiler) files(dir string, texts map[string]string) ([]*ast.File, error) {
	if c.asIs[dir] == nil {
		p, err := build.ImportDir(filepath.Join(c.root, filepath.FromSlash(dir)), 0)
		if err != nil {
			return nil, err
		}
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(c.fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				return nil, err
			}
			c.asIs[dir], c.at[dir] = append(c.asIs[dir], f), append(c.at[dir], dir+"/"+name)
		}
	}
	files := slices.Clone(c.asIs[dir])
	for i, name := range c.at[dir] {
		if text, ok := texts[name]; ok {
			f, err := parser.ParseFile(c.fset, name, text, parser.SkipObjectResolution)
			if err != nil {
				return nil, err
			}
			files[i] = f
		}
	}
	return files, nil
}
