package repolint

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// check runs the rules over a tree given as path, text, path, text, …
func check(t *testing.T, tree ...string) []Violation {
	t.Helper()
	files := make(map[string][]byte)
	for i := 0; i < len(tree); i += 2 {
		files[tree[i]] = []byte(tree[i+1])
	}
	r := &Repo{files: files, exports: func([]string) (map[string]string, error) { return stdExports() }}
	return r.Check()
}

var stdExports = sync.OnceValues(func() (map[string]string, error) {
	return goListExports(".", []string{"fmt", "strings", "math/rand/v2", "time", "sort", "maps", "sync"})
})

// breaks returns a function that demands exactly one violation, of one rule,
// whose text holds want.
func breaks(t *testing.T, rule string) func(want string, tree ...string) {
	return func(want string, tree ...string) {
		t.Helper()
		got := check(t, tree...)
		if len(got) != 1 || got[0].Rule != rule || !strings.Contains(got[0].String(), want) {
			t.Errorf("%q: got %q, want one violation of %s with %q", tree[0], got, rule, want)
		}
	}
}

func holds(t *testing.T, tree ...string) {
	t.Helper()
	if got := check(t, tree...); len(got) != 0 {
		t.Errorf("%q: unexpected %q", tree, got)
	}
}

func TestTree(t *testing.T) {
	f := breaks(t, "top-level")
	f("pkg: top-level", "pkg/x.txt", "x")
	f("notes.md", "notes.md", "x")
	f("cmd/other/x", "cmd/other/x", "x")
	f("cmd/x.txt", "cmd/x.txt", "x")
	m := breaks(t, "module")
	m("go.work", "go.work", "go 1.26.0\n")
	m("go.mod:3: module: no replace", "go.mod", "module m\n\nreplace a => b\n")
	use := []string{"tools/x/x.go", "// Package x is a sample.\npackage x\n\nimport _ \"a.b/c/d\"\n"}
	m("go.mod:2: module: a.b/c is imported: true, said to be indirect: true", append([]string{"go.mod", "module m\nrequire a.b/c v1.0.0 // indirect\n"}, use...)...)
	m("a.b/e is imported: false", append([]string{"go.mod", "module m\nrequire (\n\ta.b/c v1.0.0\n\ta.b/e v1.0.0\n)\n"}, use...)...)
	m("no toolchain", "go.mod", "module m\ntoolchain go1.26.8\n")
	holds(t, ".ci/run", "x", ".gitignore", "x", "LICENSE-MIT", "x", "bench/go.mod", "replace a => ../\n")
}

func TestText(t *testing.T) {
	breaks(t, "size")("262145 bytes", "tools/x.txt", strings.Repeat("x", maxFileBytes+1))
	breaks(t, "size")("801 lines", "tools/x/x_test.go", "package x\n"+strings.Repeat("\n", maxFileLines))
	breaks(t, "binary")("zero byte", "tools/x", "a\x00b")
	breaks(t, "binary")("zero byte", "bench/results/1/x.json", "a\x00b")
	breaks(t, "binary")("zero byte", "bench/x.png", "a\x00b")
	breaks(t, "size")("8388609 bytes", "bench/results/1/x.png", strings.Repeat("x", maxReportBytes+1))
	if got := check(t, "bench/results/1/x.png", "a\x00b"+strings.Repeat("x", maxFileBytes)); len(got) > 0 {
		t.Errorf("a chart of a report: %v", got)
	}
	breaks(t, "readme")("200 lines", "README.md", strings.Repeat("\n", 200))
	f := breaks(t, "later")
	f("x.sh:2", "tools/x.sh", "#\n# TO"+"DO later\n")
	f("FIX"+"ME", "tools/x.sh", "# FIX"+"ME\n")
	f("X"+"XX", "tools/x.sh", "X"+"XX: odd\n")
	p := breaks(t, "path")
	p("/ho"+"me/", "tools/x.sh", "cd /ho"+"me/somebody\n")
	p("/tm"+"p/", "tools/x.sh", "out=/tm"+"p/x\n")
	p("/ro"+"ot/", "tools/x/doc.go", "// Package x.\npackage x\n\nconst c = \"/ro"+"ot/x\"\n")
	p("module host", "tools/x.sh", "GOPROXY=https://pro"+"xy.golang.org\n")
	holds(t, "tools/x.sh", "wal/tmp/file https://host/home/page toDo\n")
}

func TestShape(t *testing.T) {
	src := func(body string) []string {
		return []string{"tools/x/x.go", "// Package x is a sample.\npackage x\n\n" + body}
	}
	f := breaks(t, "shape")
	f("71 lines", src("func f() {\n"+strings.Repeat("\n", 69)+"}\n")...)
	f("5 parameters", src("func f(a, b, c, d int, e string) {}\n")...)
	f("5 parameters", src("var f = func(a, b, c, d, e int) {}\n")...)
	f("no init", src("func init() {}\n")...)
	f("does not parse", src("func {\n")...)
	d := breaks(t, "doc")
	d("no package comment", "tools/x/x.go", "package x\n")
	d("exported F", src("func F() {}\n")...)
	d("exported M", src("// T is.\ntype T[P any] struct{}\n\nfunc (t *T[P]) M() {}\n")...)
	d("exported type T", src("type T int\n")...)
	d("exported C", src("const C = 1\n")...)
	d("interface method M", src("// I is.\ntype I interface{ M() }\n")...)
	holds(t, src("func f() {\n"+strings.Repeat("\n", 68)+"}\n\nfunc g(a, b, c, d int) {}\n")...)
	holds(t, src("// T is.\ntype T int\n\nfunc (T) String() string { return \"\" }\n\ntype u int\n\nfunc (u) M() {}\n")...)
	holds(t, src("// The values.\nconst (\n\tA = 1\n\tB = 2\n)\n")...)
	holds(t, "tools/x/x_test.go", "package x\n\nfunc F(a, b, c, d, e int) {"+strings.Repeat("\n", 80)+"}\n")
	holds(t, "tools/x/testdata/bad.go", "package")
}

func TestTests(t *testing.T) {
	f := breaks(t, "test")
	src := func(body string) []string {
		return []string{"tools/x/x_test.go", "package x\n\nimport (\n\t\"testing\"\n\t\"time\"\n)\n\nfunc f(t *testing.T) { " + body + " }\n"}
	}
	f("time.Sleep", src("time.Sleep(1)")...)
	f("t.Skip", src("t.Skip()")...)
	f("t.SkipNow", src("t.SkipNow()")...)
	f("t.Skipf", src("t.Skipf(``)")...)
	f("x_test.go:8: test: time.Sleep", src("synctest.Test(t, g); time.Sleep(1)")...)
	holds(t, src("t.Log(time.Now())")...)
	holds(t, src("synctest.Test(t, func(t *testing.T) { time.Sleep(1) })")...)
	rooted := src("t.Skip()")
	rooted[1] = "//go:build linux && roottest\n\n" + rooted[1]
	holds(t, rooted...)
}

func TestImportTable(t *testing.T) {
	f := breaks(t, "imports")
	src := func(file, imported string) []string {
		return []string{file, "// Package p is a sample.\npackage p\n\nimport _ \"" + imported + "\"\n"}
	}
	f("client may not import github.com/spf13/cobra", src("client/x.go", cobra)...)
	f("wire may not import golang.org/x/sys/unix", src("wire/x_test.go", xsys+"/unix")...)
	f("node may not import", src("node/x.go", Module+"/client")...)
	f("cmd/dnode may not import", src("cmd/dnode/x.go", Module+"/node/raft")...)
	f("client/load may not import", src("client/load/x.go", Module+"/wire")...)
	f("no row", src("node/extra/x.go", "fmt")...)
	holds(t, src("client/x.go", "net")...)
	holds(t, src("client/x.go", Module+"/wire")...)
	holds(t, src("client/x_test.go", rapid)...)
	holds(t, src("client/x_test.go", Module+"/node")...)
	holds(t, src("node/x.go", gnet+"/pkg/logging")...)
	holds(t, append(src("bench/x.go", "go.etcd.io/etcd/client/v3"), "bench/go.mod", "module b\n")...)
}

func TestPure(t *testing.T) {
	f := breaks(t, "pure")
	src := func(dir, imported, body string) []string {
		text := "// Package p is a sample.\npackage p\n\n"
		if imported != "" {
			text += fmt.Sprintf("import %q\n\n", imported)
		}
		return []string{dir + "/x.go", text + body + "\n"}
	}
	for dir, row := range table {
		if row.pure {
			f("go statement", src(dir, "", "func f() { go f() }")...)
		}
	}
	f("select", src("wal", "", "func f() { select {} }")...)
	f("channel", src("wal", "", "var c chan int")...)
	f("channel", src("wal", "", "type c interface{ ~<-chan int }")...)
	f("range over a map", src("node/raft", "", "type m map[int]int\n\nfunc f(x m) { for range x {} }")...)
	f("store to the package variable n", src("wire", "", "var n int\n\nfunc f() { n++ }")...)
	f("store to the package variable n", src("wire", "", "var n [4]int\n\nfunc f() { n[1] = 2 }")...)
	f("may not import time", src("node/kv", "time", "var _ time.Duration")...)
	f("range over a map", src("node/raft", "", "func f[M ~map[int]int](m M) { for range m {} }")...)
	f("range over a map", src("node/raft", "", "func f[M interface{ map[int]int }](m M) { for range m {} }")...)
	f("fmt.Println uses stdin or stdout", src("wire", "fmt", "func f() { fmt.Println() }")...)
	f("may not import maps", src("node/kv", "maps", "var _ = maps.Keys[map[int]int]")...)
	f("may not import sync", src("wal", "sync", "var _ sync.Mutex")...)
	f("may not import sort", src("node/sim", "sort", "var _ = sort.Ints")...)
	f("may not import math/rand/v2", src("node/raft", "math/rand/v2", "var _ = rand.New")...)
	f("rand.IntN is not seeded", src("node/sim", "math/rand/v2", "var _ = rand.IntN")...)
	f("does not type-check", src("wire", "", "var n int = \"\"")...)
	f("build constraints", "wire/x_linux.go", "// Package p is a sample.\npackage p\n")
	holds(t, src("node/sim", "math/rand/v2", "var _ = rand.New(rand.NewPCG(1, 2))")...)
	holds(t, src("node/raft", "", "func f[S ~[]int](s S) { for range s {} }")...)
	holds(t, src("wire", "fmt", "var e = fmt.Errorf(\"x\")\n\nfunc f(s []int) { for range s {\n\tn := 1\n\tn++\n} }")...)
	holds(t, "wire/x_test.go", "package p\n\nimport \"time\"\n\nfunc f() { go f(); _ = time.Now }\n")
}

// A pure package is judged with the types of the pure packages it imports.
func TestPureAcrossPackages(t *testing.T) {
	breaks(t, "pure")("node/raft/x.go:6: pure: range over a map",
		"wire/x.go", "// Package wire is a sample.\npackage wire\n\n// M is a map.\ntype M map[int]int\n",
		"node/raft/x.go", "// Package raft is a sample.\npackage raft\n\nimport \""+Module+"/wire\"\n\nfunc f(m wire.M) { for range m {} }\n")
}

// Of a package with one pure file a pure package sees that file, and it is held
// to the rules.
func TestPurePart(t *testing.T) {
	f := breaks(t, "pure")
	part := func(body string) []string {
		return []string{
			"client/client.go", "// Package client is a sample.\npackage client\n\nimport \"net\"\n\n// N is not pure.\nconst N = net.FlagUp\n\nfunc f() { go f() }\n",
			"client/retry.go", "package client\n\nimport \"time\"\n\n// D is.\nconst D = time.Second\n\n" + body + "\n",
		}
	}
	sim := func(body string) []string {
		return []string{"node/sim/x.go", "// Package sim is a sample.\npackage sim\n\nimport \"" + Module + "/client\"\n\n" + body + "\n"}
	}
	holds(t, append(part(""), sim("var _ = client.D")...)...)
	f("node/sim: pure: does not type-check", append(part(""), sim("var _ = client.N")...)...)
	f("client/retry.go:8: pure: go statement", part("func g() { go g() }")...)
	f("time.Now is no span of time", part("var _ = time.Now")...)
	f("may not import sync", "client/retry.go", "// Package client is a sample.\npackage client\n\nimport _ \"sync\"\n")
}
