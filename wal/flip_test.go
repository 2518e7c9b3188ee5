package wal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/crashfs"
	"github.com/dnode-engine/dnode/wire"
)

// world is a valid folder of several segments, and what may be lost of it.
type world struct {
	fs    *crashfs.FS
	files []string
	m     model
	ever  model   // every entry written, the superseded ones too
	ends  []int64 // of what was written to each file
	last  []group // the groups of the last file
	tail  int64   // where the unattested tail begins in it
}

// group is one group's place, and what the log held before it.
type group struct {
	from, to int64
	before   model
}

// newWorld writes three segments; the last one ends in an unattested group of
// several sectors, or in a seal.
func newWorld(t *testing.T, sealed bool) *world {
	t.Helper()
	w := &world{fs: crashfs.New()}
	must(t, wal.SaveIdentity(w.fs, wal.Identity{Replica: owner, Name: "n1"}))
	l, _ := mustOpen(t, w.fs, small)
	puts := 0
	put := func(b []byte) {
		t.Helper()
		g := group{before: slices.Clone(w.m)}
		segments(t, w.fs, func(_ string, end int64) { g.from = end })
		w.m.append(b)
		for rest := b; len(rest) > 0; {
			n := binary.LittleEndian.Uint32(rest)
			w.ever = append(w.ever, rest[:n])
			rest = rest[n:]
		}
		must(t, l.Append(runs(b)))
		must(t, l.Sync())
		var file string
		segments(t, w.fs, func(name string, end int64) { file, g.to = name, end })
		if g.to < g.from { // the rest of the batch began a new segment
			first := binary.LittleEndian.Uint64(w.fs.Bytes(file)[512+48+8:])
			g.from, g.before, w.last = 512, slices.Clone(w.m[:first-1]), nil
		}
		w.last = append(w.last, g)
		puts++
	}
	single := func(first, last wire.Index, term wire.Term, size int) {
		t.Helper()
		for i := first; i <= last; i++ {
			put(entries(i, i, term, size))
		}
	}
	put(entries(1, 3, 1, 100))
	single(4, 9, 1, 200)
	put(entries(7, 12, 2, 200)) // supersedes, and ends in segment 2
	single(13, 16, 2, 120)
	put(entries(10, 13, 3, 300)) // ends in segment 3
	single(14, 19, 4, 40)
	put(entries(20, 21, 4, 600))
	if puts < 20 {
		t.Fatalf("the world has %d groups, want 20", puts)
	}
	w.tail = w.last[len(w.last)-1].from
	if sealed {
		w.tail = w.last[len(w.last)-1].to
		must(t, l.Seal())
	}
	segments(t, w.fs, func(name string, end int64) {
		w.files = append(w.files, name)
		w.ends = append(w.ends, end)
	})
	if len(w.files) != 3 {
		t.Fatalf("the world has %d segments, want 3", len(w.files))
	}
	return w
}

// segments calls f with each segment and the end of what was written to it.
func segments(t *testing.T, fs *crashfs.FS, f func(name string, end int64)) {
	t.Helper()
	names, err := fs.List("wal")
	must(t, err)
	for _, n := range names {
		b := fs.Bytes("wal/" + n)
		f("wal/"+n, int64((len(bytes.TrimRight(b, "\x00"))+7)/8*8))
	}
}

// outcome is how a damaged world was taken.
type outcome string

const (
	refused  outcome = "refused"
	wasCut   outcome = "cut"
	harmless outcome = "harmless" // or only a seal was lost
)

// judge opens a damaged world.
func (w *world) judge(fs *crashfs.FS, parts ...part) (outcome, error) {
	l, rec, err := wal.Open(fs, small)
	if err != nil {
		if fs.Count(crashfs.OpWrite)+fs.Count(crashfs.OpRename)+fs.Count(crashfs.OpRemove) > 0 {
			return "", fmt.Errorf("refused, and changed something: %w", err)
		}
		var c *wal.CorruptError
		if !errors.As(err, &c) {
			return "", fmt.Errorf("refused without a type: %w", err)
		}
		if !slices.ContainsFunc(parts, func(p part) bool { return p.file == c.File }) {
			return "", fmt.Errorf("another file is blamed: %w", err)
		}
		return refused, nil
	}
	got, err := readAll(l, 1<<20)
	if err != nil {
		return "", err
	}
	if bytes.Equal(got, w.m.bytes()) {
		return harmless, nil
	}
	if w.mayCut(rec.Cut, got, parts) {
		return wasCut, nil
	}
	return "", fmt.Errorf("opened with %d of %d entries, cut %v", rec.Last, len(w.m), rec.Cut)
}

// mayCut allows to cut from a group of the last file on, if that group is
// damaged and so is the mark of every group after it, and the seal if there is
// one: then nothing is left that speaks for it.
func (w *world) mayCut(cut *wal.CutRange, got []byte, parts []part) bool {
	damaged := func(from, to int64) bool {
		return slices.ContainsFunc(parts, func(p part) bool { return p.file == w.files[2] && p.from < to && from < p.to })
	}
	if cut == nil || cut.File != w.files[2] || w.tail < w.ends[2] && w.tail == w.last[len(w.last)-1].to && !damaged(w.tail, w.ends[2]) {
		return false
	}
	for i, g := range w.last {
		if g.from != cut.Offset {
			continue
		}
		for _, later := range w.last[i+1:] {
			if !damaged(later.to-72, later.to) {
				return false
			}
		}
		return damaged(g.from, g.to) && bytes.Equal(got, g.before.bytes())
	}
	return false
}

type part struct {
	file     string
	from, to int64
}

// Every byte of every segment, flipped in turn: bytes that are covered are
// refused by name, unless they are of the last, unattested group.
func TestFlipEveryByte(t *testing.T) {
	f := func(name string, sealed bool) {
		t.Helper()
		w := newWorld(t, sealed)
		count := map[outcome]int{}
		for i, file := range w.files {
			for off := range int64(len(w.fs.Bytes(file))) {
				img := w.fs.Kill()
				must(t, img.Flip(file, off, 1<<(off%8)))
				got, err := w.judge(img, part{file, off, off + 1})
				if err != nil {
					t.Fatalf("%s: %s offset %d: %v", name, file, off, err)
				}
				count[got]++
				covered := off < 64 || off >= 512 && off < w.ends[i]
				if got == harmless && covered && (i < 2 || off < w.tail) {
					t.Fatalf("%s: %s offset %d is covered, and its flip goes unseen", name, file, off)
				}
			}
		}
		t.Logf("%s: %v", name, count)
	}
	f("unattested last group", false)
	f("sealed", true)
}

// Sectors zeroed, overwritten with another one's content, and swapped.
func TestSectorFaults(t *testing.T) {
	const n = crashfs.SectorBytes
	f := func(name string, sealed bool) {
		t.Helper()
		w := newWorld(t, sealed)
		var all []part
		for _, file := range w.files {
			for off := int64(0); off < int64(len(w.fs.Bytes(file))); off += n {
				all = append(all, part{file, off, off + n})
			}
		}
		for _, a := range all {
			img := w.fs.Kill()
			setPart(img, a, make([]byte, n))
			if _, err := w.judge(img, a); err != nil {
				t.Fatalf("%s: zeroed %v: %v", name, a, err)
			}
			for _, b := range all {
				if a == b {
					continue
				}
				img := w.fs.Kill()
				setPart(img, a, getPart(w.fs, b))
				if _, err := w.judge(img, a); err != nil {
					t.Fatalf("%s: %v has the content of %v: %v", name, a, b, err)
				}
				img = w.fs.Kill()
				setPart(img, a, getPart(w.fs, b))
				setPart(img, b, getPart(w.fs, a))
				if _, err := w.judge(img, a, b); err != nil {
					t.Fatalf("%s: %v and %v swapped: %v", name, a, b, err)
				}
			}
		}
	}
	f("unattested last group", false)
	f("sealed", true)
}

func getPart(fs *crashfs.FS, p part) []byte { return fs.Bytes(p.file)[p.from:p.to] }

func setPart(fs *crashfs.FS, p part, b []byte) {
	whole := fs.Bytes(p.file)
	copy(whole[p.from:p.to], b)
	fs.SetBytes(p.file, whole)
}

// Files that are missing, empty, cut short or exchanged.
func TestFileFaults(t *testing.T) {
	w := newWorld(t, false)
	f := func(what string, damage func(fs *crashfs.FS), file string) {
		t.Helper()
		img := w.fs.Kill()
		damage(img)
		var c *wal.CorruptError
		_, _, err := wal.Open(img, small)
		if !errors.As(err, &c) || c.File != file {
			t.Errorf("%s: got %v, want damage to %s", what, err, file)
		}
	}
	for _, file := range w.files {
		f("missing", func(fs *crashfs.FS) { must(t, fs.Remove(file)) }, file)
		f("empty", func(fs *crashfs.FS) { fs.SetBytes(file, nil) }, file)
		f("cut short", func(fs *crashfs.FS) { fs.SetBytes(file, fs.Bytes(file)[:2000]) }, file)
		f("zeroed", func(fs *crashfs.FS) { fs.SetBytes(file, make([]byte, 4096)) }, file)
	}
	f("exchanged", func(fs *crashfs.FS) {
		b := fs.Bytes(w.files[0])
		fs.SetBytes(w.files[0], fs.Bytes(w.files[1]))
		fs.SetBytes(w.files[1], b)
	}, w.files[0])
}
