package repolint

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

const (
	maxFuncLines = 70
	maxParams    = 4
)

// undocumented are methods whose meaning is fixed by the standard library.
var undocumented = []string{"String", "Error", "Unwrap", "Is", "Len", "Less", "Swap"}

// checkShape holds one non-test file to the limits on functions and to the
// rules on documentation.
func (r *Repo) checkShape(name string) {
	if isTest(name) {
		return
	}
	f := r.parsed[name]
	ast.Inspect(f, func(n ast.Node) bool {
		if ft, ok := n.(*ast.FuncType); ok {
			if params := ft.Params.NumFields(); params > maxParams {
				r.addAt(ft.Pos(), "shape", "%d parameters; at most %d", params, maxParams)
			}
		}
		return true
	})
	for _, d := range f.Decls {
		if fd, ok := d.(*ast.FuncDecl); ok {
			r.checkFunc(fd)
		}
		if f.Name.Name != "main" {
			r.checkDoc(d)
		}
	}
}

func (r *Repo) checkFunc(fd *ast.FuncDecl) {
	n := r.fset.Position(fd.End()).Line - r.fset.Position(fd.Pos()).Line + 1
	if n > maxFuncLines {
		r.addAt(fd.Pos(), "shape", "func %s has %d lines; at most %d", fd.Name.Name, n, maxFuncLines)
	}
	if fd.Recv == nil && fd.Name.Name == "init" {
		r.addAt(fd.Pos(), "shape", "no init functions: work begins in main or in a constructor")
	}
}

// checkDoc looks for the comment of every exported name of one declaration.
func (r *Repo) checkDoc(d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Doc != nil || !d.Name.IsExported() || !exportedRecv(d) {
			return
		}
		if d.Recv != nil && slices.Contains(undocumented, d.Name.Name) {
			return
		}
		r.addAt(d.Pos(), "doc", "exported %s has no comment", d.Name.Name)
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			r.checkSpecDoc(d, spec)
		}
	}
}

func (r *Repo) checkSpecDoc(d *ast.GenDecl, spec ast.Spec) {
	switch s := spec.(type) {
	case *ast.TypeSpec:
		if !s.Name.IsExported() {
			return
		}
		if d.Doc == nil && s.Doc == nil && s.Comment == nil {
			r.addAt(s.Pos(), "doc", "exported type %s has no comment", s.Name.Name)
		}
		if it, ok := s.Type.(*ast.InterfaceType); ok {
			r.checkInterfaceDoc(it)
		}
	case *ast.ValueSpec:
		for _, id := range s.Names {
			if id.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
				r.addAt(id.Pos(), "doc", "exported %s has no comment", id.Name)
			}
		}
	}
}

func (r *Repo) checkInterfaceDoc(it *ast.InterfaceType) {
	for _, m := range it.Methods.List {
		if len(m.Names) > 0 && m.Names[0].IsExported() && m.Doc == nil && m.Comment == nil {
			r.addAt(m.Pos(), "doc", "interface method %s has no comment", m.Names[0].Name)
		}
	}
}

func exportedRecv(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return false
		}
	}
}

// checkPackages looks for the documentation of every package, nested modules
// included.
func (r *Repo) checkPackages() {
	documented := make(map[string]bool)
	for name, f := range r.parsed {
		if isTest(name) {
			continue
		}
		dir := name[:max(strings.LastIndexByte(name, '/'), 0)]
		documented[dir] = documented[dir] || f.Doc != nil
	}
	for dir, ok := range documented {
		if !ok {
			r.add(place{path: dir}, "doc", "no package comment: a doc.go says what the package is for")
		}
	}
}

// checkTestHabits forbids sleeping and skipping in tests. Inside synctest.Test
// the clock is not the real one and sleeping is how it is moved. Tests that
// need root are behind a build tag that says so, and may skip.
func (r *Repo) checkTestHabits(name string) {
	if !isTest(name) {
		return
	}
	f := r.parsed[name]
	rootOnly := false
	for _, g := range f.Comments {
		for _, c := range g.List {
			rootOnly = rootOnly || strings.HasPrefix(c.Text, "//go:build") && strings.Contains(c.Text, "root")
		}
	}
	var bubbleEnd token.Pos // of the synctest.Test call seen last, in source order
	ast.Inspect(f, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok && isSynctest(call) {
			bubbleEnd = call.End()
		}
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, ok := sel.X.(*ast.Ident)
		switch {
		case !ok:
		case x.Name == "time" && sel.Sel.Name == "Sleep":
			if sel.Pos() < bubbleEnd {
				return true
			}
			r.addAt(sel.Pos(), "test", "time.Sleep: wait for the event, with a deadline")
		case !rootOnly && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) &&
			slices.Contains([]string{"t", "b", "f", "tb", "rt"}, x.Name):
			r.addAt(sel.Pos(), "test", "%s.%s: a test runs or does not exist", x.Name, sel.Sel.Name)
		}
		return true
	})
}

func isSynctest(call *ast.CallExpr) bool {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	return ok && x.Name == "synctest" && sel.Sel.Name == "Test"
}
