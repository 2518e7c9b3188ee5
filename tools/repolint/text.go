package repolint

import (
	"bytes"
	"maps"
	"regexp"
	"slices"
	"strings"
)

const (
	maxFileLines   = 800
	maxFileBytes   = 256 << 10
	maxReadmeLines = 199

	// reports holds what the benchmark has measured: raw data and charts.
	reports        = "bench/results/"
	maxReportBytes = 8 << 20
)

// topLevel is everything that may stand at the root, dot entries apart.
var topLevel = []string{
	"go.mod", "go.sum", "README.md", "LICENSE-MIT", "LICENSE-APACHE",
	"wire", "wal", "node", "client", "cmd", "bench", "tools",
}

// The patterns are put together here so that this file does not match itself.
var (
	laterPattern = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|X` + `XX)\b`)
	pathPattern  = regexp.MustCompile("(^|[\\s\"'`(=:,])/(root|home|work|tmp|mnt|Users)" + `/`)
	proxyPattern = regexp.MustCompile(`\b(proxy|sum)\.golang` + `\.org\b`)
)

// checkTree looks at the names of the root's entries and of those in cmd.
func (r *Repo) checkTree() {
	seen := make(map[string]bool)
	for _, name := range slices.Sorted(maps.Keys(r.files)) {
		first, rest, _ := strings.Cut(name, "/")
		switch {
		case first == "go.work" || first == "go.work.sum":
			r.add(place{path: first}, "module", "a workspace file hides what outside users get")
		case !strings.HasPrefix(first, ".") && !slices.Contains(topLevel, first) && !seen[first]:
			seen[first] = true
			r.add(place{path: first}, "top-level", "not one of %s", strings.Join(topLevel, " "))
		case first == "cmd":
			if sub, _, ok := strings.Cut(rest, "/"); (!ok || sub != "dnode") && !seen[name] {
				r.add(place{path: name}, "top-level", "cmd holds only the folder dnode")
			}
		}
	}
}

// checkText holds one file, of any kind, to the rules on text.
func (r *Repo) checkText(name string) {
	data := r.files[name]
	limit := maxFileBytes
	if strings.HasPrefix(name, reports) {
		limit = maxReportBytes
	}
	if len(data) > limit {
		r.add(place{path: name}, "size", "%d bytes; at most %d", len(data), limit)
	}
	if strings.HasPrefix(name, reports) && strings.HasSuffix(name, ".png") {
		return
	}
	if bytes.IndexByte(data, 0) >= 0 {
		r.add(place{path: name}, "binary", "holds a zero byte; only text is kept here")
		return
	}
	n := lines(data)
	if strings.HasSuffix(name, ".go") && n > maxFileLines {
		r.add(place{path: name}, "size", "%d lines; at most %d", n, maxFileLines)
	}
	if name == "README.md" && n > maxReadmeLines {
		r.add(place{path: name}, "readme", "%d lines; at most %d", n, maxReadmeLines)
	}
	line := 0
	for text := range bytes.Lines(data) {
		line++
		r.checkLine(name, line, text)
	}
}

func (r *Repo) checkLine(name string, line int, text []byte) {
	if m := laterPattern.Find(text); m != nil {
		r.add(place{name, line}, "later", "%s: do it now or leave it out", m)
	}
	if m := pathPattern.Find(text); m != nil {
		r.add(place{name, line}, "path", "absolute path of one machine (%s)", bytes.TrimSpace(m))
	}
	if m := proxyPattern.Find(text); m != nil {
		r.add(place{name, line}, "path", "names a module host (%s)", m)
	}
	if name != "go.mod" {
		return
	}
	if word, _, _ := strings.Cut(strings.TrimSpace(string(text)), " "); word == "replace" || word == "toolchain" {
		r.add(place{name, line}, "module", "no %s line: outside users must be able to go install", word)
	}
}
