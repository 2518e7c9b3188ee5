package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
)

// findFuzz parses the test files of the root module and returns the names of
// the fuzz functions by folder.
func findFuzz(root string) (map[string][]string, error) {
	targets := make(map[string][]string)
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata" || p != root && hasModule(p)) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(p, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(p))
		if names := fuzzFuncs(f); len(names) > 0 {
			targets[filepath.ToSlash(rel)] = append(targets[filepath.ToSlash(rel)], names...)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot look for fuzz functions: %w", err)
	}
	return targets, nil
}

// fuzzFuncs returns the names of f's functions FuzzX(*testing.F).
func fuzzFuncs(f *ast.File) []string {
	var names []string
	for _, d := range f.Decls {
		if fd, ok := d.(*ast.FuncDecl); ok && fd.Recv == nil &&
			strings.HasPrefix(fd.Name.Name, "Fuzz") && fd.Type.Params.NumFields() == 1 {
			names = append(names, fd.Name.Name)
		}
	}
	return names
}

func hasModule(dir string) bool {
	found, err := filepath.Glob(filepath.Join(dir, "go.mod"))
	return err == nil && len(found) > 0
}
