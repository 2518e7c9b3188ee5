package repolint

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// row says what one package may import: packages of ours by their path below
// the module, modules of others by module path. The std is free unless the
// package is pure.
type row struct {
	ours   []string
	theirs []string
	pure   bool
	part   string // of a package that is not pure, the one file that is: pure packages see nothing else of it
	rand   bool   // pure: seeded math/rand/v2 as well
	spans  bool   // pure: time.Duration as well
}

// holds reports whether a file is held to the rules of pure packages.
func (w row) holds(name string) bool { return w.pure || w.part != "" && w.part == path.Base(name) }

const (
	gnet      = "github.com/panjf2000/gnet/v2"
	compress  = "github.com/klauspost/compress"
	metrics   = "github.com/VictoriaMetrics/metrics"
	tint      = "github.com/lmittmann/tint"
	cobra     = "github.com/spf13/cobra"
	pflag     = "github.com/spf13/pflag" // the flags of cobra, part of its API
	toml      = "github.com/BurntSushi/toml"
	btree     = "github.com/tidwall/btree"
	xsys      = "golang.org/x/sys"
	porcupine = "github.com/anishathalye/porcupine"
	rapid     = "pgregory.net/rapid"
	goleak    = "go.uber.org/goleak"
)

// table is the package table of the design: data flows one way.
var table = map[string]row{
	"wire":         {pure: true},
	"wal":          {pure: true, ours: []string{"wire"}},
	"wal/osfs":     {ours: []string{"wal"}, theirs: []string{xsys}},
	"wal/crashfs":  {pure: true, ours: []string{"wal"}},
	"node/raft":    {pure: true, ours: []string{"wire"}},
	"node/kv":      {pure: true, ours: []string{"wire"}, theirs: []string{btree}},
	"node/replica": {pure: true, ours: []string{"wire", "node/raft"}},
	"node/disk":    {pure: true, ours: []string{"wire", "wal", "node/replica"}},
	"node/sim": {
		pure: true, rand: true, spans: true, theirs: []string{porcupine},
		ours: []string{"wire", "wal", "wal/crashfs", "node/raft", "node/kv", "node/replica", "node/disk", "client"},
	},
	"node": {
		ours:   []string{"wire", "wal", "wal/osfs", "node/raft", "node/kv", "node/replica", "node/disk"},
		theirs: []string{gnet, metrics, compress, xsys},
	},
	"client":      {ours: []string{"wire"}, part: "retry.go", spans: true},
	"client/load": {ours: []string{"client"}},
	"cmd/dnode": {
		ours:   []string{"node", "client", "client/load", "wal", "wal/osfs"},
		theirs: []string{cobra, pflag, toml, tint},
	},
}

// pureStd are the std packages that a pure package may import.
var pureStd = []string{
	"bytes", "cmp", "encoding/binary", "errors", "fmt", "hash/crc32", "iter",
	"math", "math/bits", "slices", "strconv", "strings",
}

// testModules may be imported by every test.
var testModules = []string{porcupine, rapid, goleak}

// checkImports holds one file of the root module to its package's row.
func (r *Repo) checkImports(name string) {
	dir := path.Dir(name)
	if r.nested(name) || dir == "tools" || strings.HasPrefix(dir, "tools/") {
		return
	}
	allowed, known := table[dir]
	if !known {
		r.add(place{path: name}, "imports", "package %s has no row in the table of tools/repolint/imports.go", dir)
		return
	}
	for _, spec := range r.parsed[name].Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser has accepted it; cannot happen
		}
		if why := allowed.refuses(imported, isTest(name), allowed.holds(name)); why != "" {
			r.addAt(spec.Pos(), why, "%s may not import %s", dir, imported)
		}
	}
}

// refuses returns the rule that an import breaks in a test or in a file that is
// pure or not, or "".
func (w row) refuses(imported string, test, pure bool) string {
	if imported == Module || strings.HasPrefix(imported, Module+"/") {
		if test || slices.Contains(w.ours, strings.TrimPrefix(imported, Module+"/")) {
			return ""
		}
		return "imports"
	}
	if first, _, _ := strings.Cut(imported, "/"); strings.Contains(first, ".") {
		modules := w.theirs
		if test {
			modules = slices.Concat(w.theirs, testModules)
		}
		for _, m := range modules {
			if imported == m || strings.HasPrefix(imported, m+"/") {
				return ""
			}
		}
		return "imports"
	}
	if test || !pure || slices.Contains(pureStd, imported) || w.rand && imported == "math/rand/v2" || w.spans && imported == "time" {
		return ""
	}
	return "pure"
}

// checkModule holds the root go.mod to the imports of the root module: a module
// stands there as direct exactly when something imports it.
func (r *Repo) checkModule() {
	var imported []string
	for name, f := range r.parsed {
		if r.nested(name) {
			continue
		}
		for _, spec := range f.Imports {
			imported = append(imported, strings.Trim(spec.Path.Value, `"`))
		}
	}
	line := 0
	for text := range strings.Lines(string(r.files["go.mod"])) {
		line++
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(text), "require "))
		if len(fields) < 2 || !strings.HasPrefix(fields[1], "v") || !strings.Contains(fields[0], ".") {
			continue
		}
		used := slices.ContainsFunc(imported, func(p string) bool {
			return p == fields[0] || strings.HasPrefix(p, fields[0]+"/")
		})
		if indirect := strings.HasSuffix(strings.TrimSpace(text), "// indirect"); used == indirect {
			r.add(place{"go.mod", line}, "module", "%s is imported: %v, said to be indirect: %v", fields[0], used, indirect)
		}
	}
}
