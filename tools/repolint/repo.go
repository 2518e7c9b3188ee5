package repolint

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Module is the path of the module whose rules these are.
const Module = "github.com/dnode-engine/dnode"

// Violation is one place where a rule is broken.
type Violation struct {
	Path string // relative to the root, with slashes
	Line int    // zero when the whole file or folder is meant
	Rule string // a name of the table in the package documentation
	Text string // what is wrong and what is allowed
}

// String returns the violation as path:line: rule: text.
func (v Violation) String() string {
	if v.Line == 0 {
		return fmt.Sprintf("%s: %s: %s", v.Path, v.Rule, v.Text)
	}
	return fmt.Sprintf("%s:%d: %s: %s", v.Path, v.Line, v.Rule, v.Text)
}

// Repo is the tree that is checked. A Repo is used once, by one goroutine.
type Repo struct {
	files map[string][]byte // by path relative to the root, with slashes
	// exports returns the files with export data of the packages named and of
	// all that they import, by import path.
	exports func(paths []string) (map[string]string, error)

	fset   *token.FileSet
	parsed map[string]*ast.File
	found  []Violation
}

// Load reads the files that git tracks or would track under root.
func Load(root string) (*Repo, error) {
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("cannot list the files of %s: %w", root, err)
	}
	files := make(map[string][]byte)
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if os.IsNotExist(err) {
			continue // deleted, not committed yet
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read the tree: %w", err)
		}
		files[name] = data
	}
	return &Repo{files: files, exports: func(paths []string) (map[string]string, error) {
		return goListExports(root, paths)
	}}, nil
}

// Check runs every rule and returns all violations, sorted by place.
func (r *Repo) Check() []Violation {
	r.fset = token.NewFileSet()
	r.parsed = make(map[string]*ast.File)
	r.checkTree()
	for _, name := range slices.Sorted(maps.Keys(r.files)) {
		r.checkText(name)
		if !strings.HasSuffix(name, ".go") || strings.Contains("/"+name, "/testdata/") {
			continue
		}
		f, err := parser.ParseFile(r.fset, name, r.files[name], parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			r.add(place{path: name}, "shape", "does not parse: %v", err)
			continue
		}
		r.parsed[name] = f
	}
	for _, name := range slices.Sorted(maps.Keys(r.parsed)) {
		r.checkShape(name)
		r.checkImports(name)
		r.checkTestHabits(name)
	}
	r.checkPackages()
	r.checkModule()
	r.checkPure()
	slices.SortFunc(r.found, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Rule, b.Rule))
	})
	return r.found
}

// place is a line of a file; line zero is the whole of it.
type place struct {
	path string
	line int
}

func (r *Repo) add(at place, rule, format string, args ...any) {
	r.found = append(r.found, Violation{Path: at.path, Line: at.line, Rule: rule, Text: fmt.Sprintf(format, args...)})
}

func (r *Repo) addAt(pos token.Pos, rule, format string, args ...any) {
	p := r.fset.Position(pos)
	r.add(place{p.Filename, p.Line}, rule, format, args...)
}

// packages returns the folders of the root module that hold non-test Go files,
// and those files, both sorted.
func (r *Repo) packages() ([]string, map[string][]string) {
	byDir := make(map[string][]string)
	for _, name := range slices.Sorted(maps.Keys(r.parsed)) {
		if !isTest(name) && !r.nested(name) {
			byDir[path.Dir(name)] = append(byDir[path.Dir(name)], name)
		}
	}
	return slices.Sorted(maps.Keys(byDir)), byDir
}

// nested reports whether the file belongs to a module below the root one.
func (r *Repo) nested(name string) bool {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if _, ok := r.files[dir+"/go.mod"]; ok {
			return true
		}
	}
	return false
}

func isTest(name string) bool { return strings.HasSuffix(name, "_test.go") }

func lines(data []byte) int {
	n := bytes.Count(data, []byte("\n"))
	if len(data) > 0 && data[len(data)-1] != '\n' {
		n++
	}
	return n
}
