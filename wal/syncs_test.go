package wal_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/crashfs"
)

// syncs stands before a file system and knows who asks for a sync: the functions
// of package wal, the outermost last, and which sync of the vote file's two.
type syncs struct {
	*crashfs.FS
	swallow func(who, line string) bool
	votes   int
}

type syncsFile struct {
	wal.File
	fs   *syncs
	name string
}

func (s *syncs) Create(name string) (wal.File, error) {
	f, err := s.FS.Create(name)
	return syncsFile{f, s, name}, err
}

func (s *syncs) Open(name string) (wal.File, error) {
	f, err := s.FS.Open(name)
	return syncsFile{f, s, name}, err
}

func (s *syncs) SyncDir(dir string) error {
	if s.swallow(caller("folder")) {
		return nil
	}
	return s.FS.SyncDir(dir)
}

func (f syncsFile) Sync() error {
	what := "file"
	if f.name == "vote" {
		what = fmt.Sprint("slot ", f.fs.votes%2)
		f.fs.votes++
	}
	if f.fs.swallow(caller(what)) {
		return nil
	}
	return f.File.Sync()
}

func (f syncsFile) DropCache() error { return f.File.(wal.CacheDropper).DropCache() }

// caller returns the functions of package wal on the way to a sync, and the
// innermost with the line of the sync.
func caller(what string) (who, line string) {
	var pc [32]uintptr
	frames := runtime.CallersFrames(pc[:runtime.Callers(3, pc[:])])
	for {
		f, more := frames.Next()
		name, ok := strings.CutPrefix(f.Function, "github.com/dnode-engine/dnode/wal.")
		if !ok {
			return what + ": " + who, line
		}
		if who == "" {
			line = fmt.Sprint(method.Replace(name), ":", f.Line)
		}
		who = method.Replace(name) + " " + who
		if !more {
			return what + ": " + who, line
		}
	}
}

var (
	method   = strings.NewReplacer("(*", "", ")", "") // (*Log).Sync is Log.Sync
	function = regexp.MustCompile(`^func (?:\(\w+ \*?(\w+)\) )?(\w+)`)
)

// syncsOf returns the functions of package wal that ask for a sync, as often as
// they do.
func syncsOf(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	must(t, err)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		b, err := os.ReadFile(name)
		must(t, err)
		within := ""
		for line := range bytes.SplitSeq(b, []byte("\n")) {
			code, _, _ := bytes.Cut(line, []byte("//"))
			if f := function.FindSubmatch(code); f != nil {
				within = strings.TrimPrefix(fmt.Sprintf("%s.%s", f[1], f[2]), ".")
			}
			if bytes.Contains(code, []byte("ile.Sync()")) || bytes.Contains(code, []byte("f.Sync()")) || bytes.Contains(code, []byte(".SyncDir(")) {
				names = append(names, within)
			}
		}
	}
	return names
}

// redundant says of each sync that may be missing why.
var redundant = map[string]string{
	"folder: OpenStore OpenVotes openVotes Votes.create replaceFile ":                                                   "Open syncs the folder before the vote is relied on",
	"folder: Store.Seal Log.Seal Log.attest Log.record recordSealed SaveIdentity replaceFile ":                          lastSealed,
	"folder: Store.Close Log.Close Log.attest Log.record recordSealed SaveIdentity replaceFile ":                        lastSealed,
	"folder: OpenStore Open recovery.open recovery.settle Log.attest Log.record recordSealed SaveIdentity replaceFile ": lastSealed,
	"file: Store.Sync Log.Sync Log.fence leaveFenceMarker ":                                                             fence,
	"folder: Store.Sync Log.Sync Log.fence leaveFenceMarker ":                                                           fence,
	"folder: OpenStore Open recovery.open recovery.settle recovery.clearFence removeFenceMarker ":                       fence,
}

const (
	lastSealed = "the identity without it says less about the log, and nothing wrong; the name of the replica is synced"
	fence      = "the marker is about the page cache, which a power cut empties"
)

// Each sync that package wal asks for is in the lives, and is needed: with that
// one alone left out, everything else as it is, a power cut somewhere leaves
// something wrong. The latter takes half a minute: DNODETEST_EXHAUSTIVE.
func TestEverySyncIsNeeded(t *testing.T) {
	var sites, lines []string
	c := cutter{asleep: true, of: 1}
	must(t, c.run(func(fs *crashfs.FS) wal.FS {
		return &syncs{FS: fs, swallow: func(who, line string) bool {
			if !slices.Contains(sites, who) {
				sites = append(sites, who)
			}
			if !slices.Contains(lines, line) {
				lines = append(lines, line)
			}
			return false
		}}
	}))
	var got []string
	for _, line := range lines {
		name, _, _ := strings.Cut(line, ":")
		got = append(got, name)
	}
	want := syncsOf(t)
	slices.Sort(got)
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("syncs by %q in the lives, by %q in the source", got, want)
	}
	if !exhaustive() {
		return
	}
	for _, site := range sites {
		if redundant[site] != "" {
			continue
		}
		c := cutter{most: 40, again: 40, inner: 8, kills: 1, of: 1, asleep: true}
		err := c.run(func(fs *crashfs.FS) wal.FS {
			return &syncs{FS: fs, swallow: func(who, _ string) bool {
				if who == site {
					c.asleep = false
				}
				return who == site
			}}
		})
		t.Log(site, c.images, err)
		if err == nil {
			t.Errorf("nothing is wrong without the sync of %s", site)
		}
	}
}
