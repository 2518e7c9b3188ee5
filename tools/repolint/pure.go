package repolint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// seededRand are the names of math/rand/v2 that hold no global state.
var seededRand = []string{"New", "NewPCG", "NewChaCha8", "NewZipf", "Rand", "PCG", "ChaCha8", "Source", "Zipf"}

// spans are the names of time that have nothing to do with a clock.
var spans = []string{"Duration", "Nanosecond", "Microsecond", "Millisecond", "Second", "Minute", "Hour"}

// checkPure holds the pure packages to their rules, by type.
func (r *Repo) checkPure() {
	dirs, byDir := r.packages()
	pure := make(map[string][]string)
	external := make(map[string]bool)
	for _, dir := range dirs {
		pure[dir] = slices.DeleteFunc(byDir[dir], func(name string) bool { return !table[dir].holds(name) })
		if len(pure[dir]) == 0 {
			delete(pure, dir)
		}
		for _, name := range pure[dir] {
			for _, spec := range r.parsed[name].Imports {
				if p, err := strconv.Unquote(spec.Path.Value); err == nil && !strings.HasPrefix(p, Module) {
					external[p] = true
				}
			}
		}
	}
	exports, err := r.exports(slices.Sorted(maps.Keys(external)))
	if err != nil {
		r.add(place{path: "go.mod"}, "pure", "cannot load types: %v", err)
		return
	}
	tc := &typer{repo: r, files: pure, done: make(map[string]*types.Package)}
	tc.external = importer.ForCompiler(r.fset, "gc", func(p string) (io.ReadCloser, error) {
		if exports[p] == "" {
			return nil, fmt.Errorf("no export data for %s", p)
		}
		return os.Open(exports[p])
	})
	for _, dir := range slices.Sorted(maps.Keys(pure)) {
		if _, err := tc.Import(Module + "/" + dir); err != nil {
			r.add(place{path: dir}, "pure", "does not type-check, so it is not judged: %v", err)
		}
	}
}

// typer type-checks pure packages from source and takes all others from
// export data. It is the importer of its own packages.
type typer struct {
	repo     *Repo
	files    map[string][]string
	external types.Importer
	done     map[string]*types.Package
}

// Import returns the types of a package, checking one of ours on the way.
func (tc *typer) Import(p string) (*types.Package, error) {
	if !strings.HasPrefix(p, Module+"/") {
		return tc.external.Import(p)
	}
	if pkg, ok := tc.done[p]; ok {
		return pkg, nil
	}
	dir := strings.TrimPrefix(p, Module+"/")
	if tc.files[dir] == nil {
		return nil, fmt.Errorf("%s is not pure", p)
	}
	tc.done[p] = types.NewPackage(p, path.Base(p)) // ends import cycles
	var files []*ast.File
	for _, name := range tc.files[dir] {
		if tc.repo.plain(name) {
			files = append(files, tc.repo.parsed[name])
		} else {
			tc.repo.add(place{path: name}, "pure", "build constraints split a pure package")
		}
	}
	info := &types.Info{
		Types: make(map[ast.Expr]types.TypeAndValue),
		Uses:  make(map[*ast.Ident]types.Object),
	}
	var all []error
	conf := types.Config{Importer: tc, Error: func(err error) { all = append(all, err) }}
	pkg, _ := conf.Check(p, tc.repo.fset, files, info)
	tc.done[p] = pkg
	for _, f := range files {
		tc.repo.judge(f, pkg, info)
	}
	if len(all) > 0 {
		return pkg, all[0]
	}
	return pkg, nil
}

// plain reports whether a file is built everywhere.
func (r *Repo) plain(name string) bool {
	for _, goos := range []string{"linux", "darwin", "windows"} {
		ctx := build.Default
		ctx.GOOS, ctx.GOARCH, ctx.BuildTags = goos, "amd64", nil
		ctx.OpenFile = func(string) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(r.files[name])), nil
		}
		if ok, err := ctx.MatchFile(path.Dir(name), path.Base(name)); err != nil || !ok {
			return false
		}
	}
	return true
}

// judge walks one file of a pure package.
func (r *Repo) judge(f *ast.File, pkg *types.Package, info *types.Info) {
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			r.addAt(n.Pos(), "pure", "go statement")
		case *ast.SelectStmt:
			r.addAt(n.Pos(), "pure", "select statement")
		case *ast.ChanType, *ast.SendStmt:
			r.addAt(n.Pos(), "pure", "channel")
		case *ast.RangeStmt:
			if t := info.TypeOf(n.X); t != nil && mayBeMap(t) {
				r.addAt(n.Pos(), "pure", "range over a map: its order is random")
			}
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, lhs := range n.Lhs {
					r.judgeStore(lhs, pkg, info)
				}
			}
		case *ast.IncDecStmt:
			r.judgeStore(n.X, pkg, info)
		case *ast.SelectorExpr:
			r.judgeCall(n, info)
		}
		return true
	})
}

// judgeStore forbids a store to a variable of the package.
func (r *Repo) judgeStore(lhs ast.Expr, pkg *types.Package, info *types.Info) {
	root := lhs
	for {
		switch x := root.(type) {
		case *ast.IndexExpr:
			root = x.X
			continue
		case *ast.SelectorExpr:
			root = x.X
			continue
		case *ast.StarExpr:
			root = x.X
			continue
		case *ast.ParenExpr:
			root = x.X
			continue
		}
		break
	}
	id, ok := root.(*ast.Ident)
	if !ok {
		return
	}
	if v, ok := info.Uses[id].(*types.Var); ok && v.Parent() == pkg.Scope() {
		r.addAt(lhs.Pos(), "pure", "store to the package variable %s", id.Name)
	}
}

// mayBeMap reports whether values of a type, or of a type parameter's type
// set, are maps.
func mayBeMap(t types.Type) bool {
	switch u := t.Underlying().(type) {
	case *types.Map:
		return true
	case *types.Interface: // ranged over, so t is a type parameter
		for e := range u.EmbeddedTypes() {
			if mayBeMap(e) {
				return true
			}
		}
	case *types.Union:
		for term := range u.Terms() {
			if mayBeMap(term.Type()) {
				return true
			}
		}
	}
	return false
}

// judgeCall forbids the functions of the allowed std packages that draw from
// global state or talk to the process's files.
func (r *Repo) judgeCall(sel *ast.SelectorExpr, info *types.Info) {
	id, ok := sel.X.(*ast.Ident)
	if !ok {
		return
	}
	p, ok := info.Uses[id].(*types.PkgName)
	if !ok {
		return
	}
	switch p.Imported().Path() {
	case "math/rand/v2":
		if !slices.Contains(seededRand, sel.Sel.Name) {
			r.addAt(sel.Pos(), "pure", "rand.%s is not seeded", sel.Sel.Name)
		}
	case "time":
		if !slices.Contains(spans, sel.Sel.Name) {
			r.addAt(sel.Pos(), "pure", "time.%s is no span of time", sel.Sel.Name)
		}
	case "fmt":
		if strings.HasPrefix(sel.Sel.Name, "Print") || strings.HasPrefix(sel.Sel.Name, "Scan") {
			r.addAt(sel.Pos(), "pure", "fmt.%s uses stdin or stdout", sel.Sel.Name)
		}
	}
}

// goListExports asks the go command for export data, building what is missing.
func goListExports(root string, paths []string) (map[string]string, error) {
	if len(paths) == 0 {
		return nil, nil
	}
	args := []string{"list", "-e", "-export", "-deps", "-json=ImportPath,Export"}
	cmd := exec.Command("go", append(args, paths...)...)
	cmd.Dir = filepath.FromSlash(root)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("cannot run go list: %w: %s", err, stderr.Bytes())
	}
	exports := make(map[string]string)
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ ImportPath, Export string }
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return exports, nil
		} else if err != nil {
			return nil, fmt.Errorf("cannot read the output of go list: %w", err)
		}
		exports[p.ImportPath] = p.Export
	}
}
