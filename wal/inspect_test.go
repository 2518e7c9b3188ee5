package wal_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/crashfs"
	"github.com/dnode-engine/dnode/wire"
)

// inspect returns the kinds seen, in order, and whether anything is corrupt.
func inspect(t *testing.T, fs wal.FS) (kinds []string, texts []string, corrupt, verdict bool) {
	t.Helper()
	must(t, wal.Inspect(fs, func(r *wal.Record) error {
		if r.Text == "" || strings.Contains(r.Text, "\n") {
			t.Errorf("%s at %d of %s has the text %q", r.Kind, r.Offset, r.File, r.Text)
		}
		kinds = append(kinds, r.Kind.String())
		texts = append(texts, r.Text)
		if r.Kind == wal.KindVerdict {
			verdict = r.Corrupt
		} else {
			corrupt = corrupt || r.Corrupt
		}
		return nil
	}))
	return kinds, texts, corrupt, verdict
}

func TestInspectShowsEverything(t *testing.T) {
	fs := crashfs.New()
	must(t, wal.SaveIdentity(fs, wal.Identity{Replica: owner, Name: "n1"}))
	s, _, _, err := wal.OpenStore(fs, small)
	must(t, err)
	must(t, s.SaveVote(wire.Vote{Term: 7, For: 2}))
	must(t, s.Append(runs(entries(1, 2, 1, 900))))
	must(t, s.Sync())
	must(t, s.Seal())
	must(t, s.Append(runs(entries(2, 3, 2, 900))))
	must(t, s.Sync())
	must(t, wal.PrepareSegment(fs, small, 3))
	before := fs.Kill()
	kinds, texts, corrupt, verdict := inspect(t, fs)
	want := "identity vote segment group entry entry seal group entry seal segment group entry free other verdict"
	if got := strings.Join(kinds, " "); got != want || corrupt || verdict {
		t.Errorf("got  %s\nwant %s\n%s", got, want, strings.Join(texts, "\n"))
	}
	all := strings.Join(texts, "\n")
	for _, part := range []string{"term 7, voted for 2", "supersedes entries 2 to 2", "segment 2 follows", "written when idle", "the next start removes it", "entries 1 to 3 are whole"} {
		if !strings.Contains(all, part) {
			t.Errorf("nothing says %q in\n%s", part, all)
		}
	}
	names, err := before.List("wal")
	must(t, err)
	after, err := fs.List("wal")
	must(t, err)
	if strings.Join(names, " ") != strings.Join(after, " ") {
		t.Error("inspecting changed the folder")
	}
	stop := errors.New("stop")
	if err := wal.Inspect(fs, func(*wal.Record) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}

// What Inspect calls corrupt is what Open refuses, and the other way round; and
// Verify says what Open will find.
func TestInspectAgreesWithOpen(t *testing.T) {
	f := func(what string, img *crashfs.FS) {
		t.Helper()
		_, texts, corrupt, verdict := inspect(t, img)
		dry, dryErr := wal.Verify(img)
		_, rec, err := wal.Open(img, small)
		if corrupt != (err != nil) || verdict != (err != nil) || (dryErr == nil) != (err == nil) {
			t.Fatalf("%s: inspect %v, verdict %v, verify %v, open %v\n%s", what, corrupt, verdict, dryErr, err, strings.Join(texts, "\n"))
		}
		if err == nil && (dry.Last != rec.Last || (dry.Cut == nil) != (rec.Cut == nil)) {
			t.Fatalf("%s: verify %+v, open %+v", what, dry, rec)
		}
	}
	for _, sealed := range []bool{false, true} {
		w := newWorld(t, sealed)
		for _, file := range w.files {
			for off := int64(0); off < 4096; off += 13 {
				img := w.fs.Kill()
				must(t, img.Flip(file, off, 4))
				f(file, img)
			}
			for off := int64(0); off < 4096; off += crashfs.SectorBytes {
				img := w.fs.Kill()
				setPart(img, part{file, off, off + crashfs.SectorBytes}, make([]byte, crashfs.SectorBytes))
				f(file+" sector", img)
			}
			img := w.fs.Kill()
			must(t, img.Remove(file))
			f(file+" missing", img)
		}
		f("whole", w.fs.Kill())
	}
	f("empty", crashfs.New())
}
