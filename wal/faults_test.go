package wal_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/crashfs"
	"github.com/dnode-engine/dnode/wire"
)

var errDisk = errors.New("input/output error")

// A failed write or sync fences for ever, though the next sync would succeed;
// reading goes on; the next start forgets what never reached the disk.
func TestFailedSyncFences(t *testing.T) {
	f := func(name string, rule crashfs.Rule) {
		t.Helper()
		fs := crashfs.New()
		s, _, _, err := wal.OpenStore(fs, small)
		must(t, err)
		must(t, s.Append(runs(entries(1, 5, 1, 50))))
		must(t, s.Sync())
		rule.Err = errDisk
		fs.Inject(rule)
		err = errors.Join(s.Append(runs(entries(6, 9, 1, 50))), s.Sync(), s.SaveVote(wire.Vote{Term: 2}))
		if !errors.Is(err, wal.ErrFenced) || !errors.Is(err, errDisk) {
			t.Fatalf("%s: got %v", name, err)
		}
		fs.ClearRules()
		for _, err := range []error{
			s.Append(runs(entries(6, 6, 1, 9))), s.Sync(), s.Seal(), s.SaveVote(wire.Vote{Term: 3}),
		} {
			if !errors.Is(err, wal.ErrFenced) {
				t.Errorf("%s: after the fence: %v", name, err)
			}
		}
		if _, err := s.Read(nil, 1, 1); err != nil {
			t.Errorf("%s: read after the fence: %v", name, err)
		}
		must(t, s.Close())

		again, rec, vote, err := wal.OpenStore(fs.Kill(), small)
		if err != nil || !rec.Fenced || rec.Last < 5 || vote.Abstain {
			t.Fatalf("%s: reopened: %v, %+v, %+v", name, err, rec, vote)
		}
		if again, rec2, _, err := wal.OpenStore(fs.Crash(1), small); err != nil || rec2.Last < 5 {
			t.Fatalf("%s: reopened after a power cut too: %v, %+v, %v", name, err, rec2, again)
		}
		must(t, again.Append(runs(entries(rec.Last+1, rec.Last+1, 1, 9))))
		must(t, again.Sync())
	}
	f("group write", crashfs.Rule{Op: crashfs.OpWrite, Name: ".seg"})
	f("group sync", crashfs.Rule{Op: crashfs.OpSync, Name: ".seg"})
	f("vote write", crashfs.Rule{Op: crashfs.OpWrite, Name: "vote"})
	f("vote slot 0 sync", crashfs.Rule{Op: crashfs.OpSync, Name: "vote"})
	f("vote slot 1 sync", crashfs.Rule{Op: crashfs.OpSync, Name: "vote", Skip: 1})
}

// After a fence, what the page cache shows and the disk never got must not
// come back, even though the process that opens next could read it.
func TestFenceMarkerReadsPastTheCache(t *testing.T) {
	fs := crashfs.New()
	l, _ := mustOpen(t, fs, small)
	must(t, l.Append(runs(entries(1, 5, 1, 50))))
	must(t, l.Sync())
	must(t, l.Append(runs(entries(6, 9, 1, 50))))
	fs.Inject(crashfs.Rule{Op: crashfs.OpSync, Name: ".seg", Err: errDisk})
	if err := l.Sync(); !errors.Is(err, wal.ErrFenced) {
		t.Fatal(err)
	}
	again, rec := mustOpen(t, fs.Kill(), small)
	if !rec.Fenced || rec.Last != 5 {
		t.Fatalf("recovered %+v, want the 5 entries that are on the disk", rec)
	}
	if _, rec = mustOpen(t, fs.Kill().Crash(3), small); rec.Last != 5 {
		t.Fatalf("recovered %+v after a power cut", rec)
	}
	must(t, again.Close())
}

// If not even the marker could be written, the next start believes the page
// cache, and must then bring to the disk all that it reports: pages that a
// failed sync has marked clean are written again.
func TestRecoveryRewritesTheTail(t *testing.T) {
	f := func(name string, batch []byte, want wire.Index) {
		t.Helper()
		fs := crashfs.New()
		l, _ := mustOpen(t, fs, small)
		must(t, l.Append(runs(entries(1, 2, 1, 900))))
		must(t, l.Sync())
		fs.Inject(crashfs.Rule{Op: crashfs.OpSync, Name: "01.seg", Err: errDisk})
		fs.Inject(crashfs.Rule{Op: crashfs.OpCreate, Name: "fence", Err: errDisk})
		if err := errors.Join(l.Append(runs(batch)), l.Sync()); !errors.Is(err, wal.ErrFenced) {
			t.Fatal(err)
		}
		after := fs.Kill()
		_, rec := mustOpen(t, after, small)
		if rec.Last != want {
			t.Fatalf("%s: recovered %+v, want %d entries", name, rec, want)
		}
		for seed := range uint64(20) {
			if _, rec := mustOpen(t, after.Crash(seed), small); rec.Last != want {
				t.Fatalf("%s: %d entries were reported, %d are left after a power cut", name, want, rec.Last)
			}
		}
	}
	f("last group", entries(3, 3, 1, 100), 3)
	f("sealed segment", entries(3, 5, 1, 900), 3)
}

// A start attests what it found: rot that comes later is told from a torn
// write, though nothing was appended since.
func TestRecoveryAttestsTheTail(t *testing.T) {
	fs := crashfs.New()
	l, _ := mustOpen(t, fs, small)
	must(t, l.Append(runs(entries(1, 3, 1, 50))))
	must(t, l.Sync())
	fs = fs.Kill()
	mustOpen(t, fs, small)
	var c *wal.CorruptError
	for off := int64(512); off < 512+48+3*78+72; off++ {
		img := fs.Kill()
		must(t, img.Flip("wal/00000001.seg", off, 1))
		if _, _, err := wal.Open(img, small); !errors.As(err, &c) || c.Offset != 512 {
			t.Fatalf("offset %d: %v", off, err)
		}
	}
}

// A failure while a segment is sealed or the next one is taken fences too, and
// nothing acknowledged is lost.
func TestRotationFaults(t *testing.T) {
	f := func(name string, rule crashfs.Rule, fences bool) {
		t.Helper()
		fs := crashfs.New()
		l, _ := mustOpen(t, fs, small)
		var m model
		rule.Err = errDisk
		failed := false
		for i := wire.Index(1); i <= 20; i++ {
			if i == 2 {
				fs.Inject(rule)
			}
			err := errors.Join(l.Append(runs(entry(i, 1, 900))), l.Sync())
			if err == nil {
				m.append(entry(i, 1, 900))
				continue
			}
			failed = true
			if errors.Is(err, wal.ErrFenced) != fences || !errors.Is(err, errDisk) {
				t.Fatalf("%s: %v", name, err)
			}
			if fences {
				break
			}
			i-- // tried again
		}
		if !failed {
			t.Fatalf("%s: the fault did not strike", name)
		}
		for seed := range uint64(20) {
			w := witness{acked: m, tried: entry(wire.Index(len(m)+1), 1, 900)}
			again, _ := mustOpen(t, fs.Crash(seed), small)
			var got model
			b, err := readAll(again, 1<<20)
			must(t, err)
			if got.append(b); !w.allows(got) {
				t.Fatalf("%s: seed %d: %d entries, acknowledged %d", name, seed, len(got), len(m))
			}
		}
	}
	f("seal sync", crashfs.Rule{Op: crashfs.OpSync, Name: "01.seg", Skip: 2}, true)
	f("folder sync", crashfs.Rule{Op: crashfs.OpSyncDir, Name: "wal"}, true)
	f("create", crashfs.Rule{Op: crashfs.OpCreate, Name: "02.now"}, false)
	f("fill", crashfs.Rule{Op: crashfs.OpWrite, Name: "02.now"}, false)
	f("fill sync", crashfs.Rule{Op: crashfs.OpSync, Name: "02.now"}, false)
	f("rename", crashfs.Rule{Op: crashfs.OpRename, Name: "02.seg"}, false)
	f("open", crashfs.Rule{Op: crashfs.OpOpen, Name: "02.seg"}, true)
}

func TestShortWritesAreResumed(t *testing.T) {
	fs := crashfs.New()
	l, _ := mustOpen(t, fs, small)
	var m model
	for i := wire.Index(1); i < 30; i++ {
		for skip := range 3 {
			fs.Inject(crashfs.Rule{Op: crashfs.OpWrite, Name: ".seg", Skip: skip, Short: int(i)*11 + 1})
		}
		b := entries(i, i, 1, 500)
		m.append(b)
		must(t, l.Append(runs(b)))
		must(t, l.Sync())
		fs.ClearRules()
	}
	fs.Inject(crashfs.Rule{Op: crashfs.OpWrite, Name: ".seg", Short: 0})
	if err := l.Append(runs(entry(30, 1, 5))); !errors.Is(err, wal.ErrFenced) || !strings.Contains(err.Error(), "no progress") {
		t.Fatalf("a write that never gets anywhere: %v", err)
	}
	again, rec := mustOpen(t, fs.Crash(5), small)
	if rec.Cut != nil {
		t.Fatal(rec.Cut)
	}
	expect(t, again, m)
}

// A full disk is a typed refusal: what is there can be read, votes can be
// saved, and appending goes on when there is room.
func TestNoSpace(t *testing.T) {
	fs := crashfs.New()
	s, _, _, err := wal.OpenStore(fs, small)
	must(t, err)
	l := s.Log()
	fs.SetQuota(fs.Used() + 5000) // one more segment, not two
	var m model
	next := func() error {
		b := entries(wire.Index(len(m)+1), wire.Index(len(m)+2), 1, 400)
		if err := s.Append(runs(b)); err != nil {
			return err
		}
		m.append(b)
		return s.Sync()
	}
	for err = next(); err == nil; err = next() {
	}
	if !errors.Is(err, wal.ErrNoSpace) || errors.Is(err, wal.ErrFenced) {
		t.Fatal(err)
	}
	for range 3 {
		if err := next(); !errors.Is(err, wal.ErrNoSpace) {
			t.Fatal(err)
		}
		must(t, s.SaveVote(wire.Vote{Term: wire.Term(len(m))}))
		must(t, s.Sync())
	}
	if got, err := readAll(l, 1<<20); err != nil || string(got[:len(m.bytes())]) != string(m.bytes()) {
		t.Fatal("what was appended before cannot be read", err)
	}
	must(t, s.Seal())
	img := fs.Crash(9)
	again, rec := mustOpen(t, img, small)
	if int(rec.Last) < len(m) {
		t.Fatalf("recovered %+v", rec)
	}
	must(t, again.Close())
	fs.SetQuota(0)
	for range 20 {
		must(t, next())
	}
	expect(t, l, m)
	must(t, s.Close())
	again, _ = mustOpen(t, fs.Crash(10), small)
	expect(t, again, m)
}

// ENOSPC in the middle of a group, as a file system that copies on write can
// give it: the same offset is used again.
func TestNoSpaceWithinGroup(t *testing.T) {
	fs := crashfs.New()
	l, _ := mustOpen(t, fs, small)
	var m model
	for i := wire.Index(1); i <= 12; i++ {
		fs.Inject(crashfs.Rule{Op: crashfs.OpWrite, Name: ".seg", Short: int(i) * 40, Err: fmt.Errorf("%w: here", wal.ErrNoSpace)})
		if err := l.Append(runs(entries(i, i, 1, 900))); !errors.Is(err, wal.ErrNoSpace) || errors.Is(err, wal.ErrFenced) {
			t.Fatal(err)
		}
		must(t, l.Sync())
		small := entries(i, i, 1, 20)
		m.append(small)
		must(t, l.Append(runs(small)))
		must(t, l.Sync())
		again, _ := mustOpen(t, fs.Crash(uint64(i)), smallOpt)
		expect(t, again, m)
	}
	expect(t, l, m)
}

var smallOpt = small

// Without descriptors no segment is made or opened and the identity cannot be
// read: the log waits for them and is not fenced.
func TestNoFilesPasses(t *testing.T) {
	f := func(op crashfs.Op, name string) {
		t.Helper()
		fs := crashfs.New()
		must(t, wal.SaveIdentity(fs, wal.Identity{Replica: small.Owner, Name: "n1"}))
		l, _ := mustOpen(t, fs, small)
		var m model
		failed := 0
		for i := range 200 {
			if i%9 == 0 {
				fs.Inject(crashfs.Rule{Op: op, Name: name, Times: 2, Err: wal.ErrNoFiles})
			}
			b, before := entry(wire.Index(len(m)+1), 1, 900), writtenBytes(fs)
			err := l.Append(runs(b))
			for ; errors.Is(err, wal.ErrNoFiles) && !errors.Is(err, wal.ErrFenced); err = l.Append(runs(b)) {
				if failed++; writtenBytes(fs) != before {
					t.Fatalf("%v %s fails, and something was written", op, name)
				}
			}
			must(t, err)
			m.append(b)
			must(t, l.Sync())
			if i%7 == 0 {
				must(t, l.Seal())
			}
		}
		if !strings.HasPrefix(name, "identity") && failed == 0 {
			t.Errorf("%v %s never failed", op, name)
		}
		expect(t, l, m)
		again, _ := mustOpen(t, fs.Crash(1), small)
		expect(t, again, m)
	}
	f(crashfs.OpCreate, ".now")
	f(crashfs.OpOpen, ".seg")
	f(crashfs.OpOpen, "identity")
	f(crashfs.OpCreate, "identity.tmp")
}

// A sync that fails for want of space, or of a descriptor for the folder, is a
// failed sync: the fence does not pass, and nobody is told that all is well.
func TestFencePassesNever(t *testing.T) {
	for _, why := range []error{wal.ErrNoSpace, wal.ErrNoFiles} {
		begin := func(rule crashfs.Rule) (*crashfs.FS, *wal.Log) {
			t.Helper()
			fs := crashfs.New()
			l, _ := mustOpen(t, fs, small)
			must(t, l.Append(runs(entries(1, 3, 1, 50))))
			rule.Err = why
			fs.Inject(rule)
			return fs, l
		}
		_, l := begin(crashfs.Rule{Op: crashfs.OpSyncDir, Name: "wal"})
		if err := l.Append(runs(entries(4, 9, 1, 900))); !errors.Is(err, wal.ErrFenced) || wal.Passes(err) {
			t.Errorf("%v for a folder's sync: %v, passes: %v", why, err, wal.Passes(err))
		}
		_, l = begin(crashfs.Rule{Op: crashfs.OpSync, Name: ".seg"})
		if err := l.Close(); err == nil {
			t.Errorf("%v for the sync of a log that is closed, and nothing is said", why)
		}
		fs, _ := begin(crashfs.Rule{Op: crashfs.OpSync, Name: ".seg", Skip: 1})
		if _, _, err := wal.Open(fs, small); err == nil {
			t.Errorf("%v for the sync of the seal that a start writes, and nothing is said", why)
		}
	}
}

// The shell's segment comes too late, twice, or not at all.
func TestPreparedSegments(t *testing.T) {
	fs := crashfs.New()
	l, _ := mustOpen(t, fs, small)
	var m model
	put := func(n int) {
		t.Helper()
		for range n {
			b := entry(wire.Index(len(m)+1), 1, 900)
			m.append(b)
			must(t, l.Append(runs(b)))
			must(t, l.Sync())
		}
	}
	need := func(want uint64, wantOK bool) {
		t.Helper()
		if n, ok := l.NeedsSegment(); ok != wantOK || ok && n != want {
			t.Fatalf("needs segment %d %v, want %d %v", n, ok, want, wantOK)
		}
	}
	need(2, true)
	must(t, wal.PrepareSegment(fs, small, 2))
	need(2, true)
	l.SegmentReady(2)
	need(3, true)
	l.SegmentReady(2) // twice
	need(3, true)
	must(t, wal.PrepareSegment(fs, small, 3))
	l.SegmentReady(3)
	need(4, false)
	if l.Spares() != 2 {
		t.Fatalf("%d spares", l.Spares())
	}
	creates := fs.Count(crashfs.OpCreate)
	put(4)
	if got := fs.Count(crashfs.OpCreate); got != creates {
		t.Fatalf("%d files made by Append though a segment was ready", got-creates)
	}
	need(4, true)
	must(t, wal.PrepareSegment(fs, small, 4))
	put(8) // the log made 4 itself
	l.SegmentReady(4)
	need(5, true)
	l.SegmentReady(9) // never asked for
	need(5, true)
	put(3)
	expect(t, l, m)
	names, err := fs.List("wal")
	must(t, err)
	for _, n := range names {
		if !strings.HasSuffix(n, ".seg") {
			t.Errorf("%s is left over", n)
		}
	}
	must(t, l.Close())
	again, _ := mustOpen(t, fs.Crash(4), small)
	expect(t, again, m)
}

// The sync comes after the write of the same group, and a group in a new
// segment comes after the sync of the old one.
func TestOrderOfOperations(t *testing.T) {
	fs := crashfs.New()
	l, _ := mustOpen(t, fs, small)
	must(t, l.Append(runs(entries(1, 2, 1, 1000))))
	must(t, l.Sync())
	n, _ := l.NeedsSegment()
	must(t, wal.PrepareSegment(fs, small, n))
	l.SegmentReady(n)
	var got []string
	fs.SetTrace(func(e crashfs.Event) { got = append(got, strings.TrimPrefix(fmt.Sprint(e.Op, " ", e.Name), " ")) })
	must(t, l.Append(runs(entries(3, 5, 1, 1000))))
	must(t, l.Sync())
	must(t, l.Sync()) // nothing to do
	want := []string{
		"open wal/00000002.seg",
		"write wal/00000001.seg", // the group's first part
		"write wal/00000001.seg", // the seal
		"sync wal/00000001.seg",
		"write wal/00000002.seg",
		"sync wal/00000002.seg",
	}
	// The open may stand anywhere before the first write to the new segment.
	var open int
	for i, s := range got {
		if s == want[0] {
			open = i
		}
	}
	got = append(append([]string{got[open]}, got[:open]...), got[open+1:]...)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("operations %q, want %q", got, want)
	}
}

func TestAppendRefusesNonsense(t *testing.T) {
	l, _ := mustOpen(t, crashfs.New(), small)
	must(t, l.Append(runs(entries(1, 5, 3, 10))))
	whole := entries(6, 7, 3, 10)
	f := func(what string, b ...[]byte) {
		t.Helper()
		if err := l.Append(b); err == nil || errors.Is(err, wal.ErrFenced) || l.Last() != 5 {
			t.Errorf("%s: %v, last %d", what, err, l.Last())
		}
	}
	f("gap", entries(7, 7, 3, 10))
	f("index zero", entries(0, 1, 3, 10))
	f("term goes back", entries(6, 6, 2, 10))
	f("term goes back within", entries(6, 6, 5, 10), entries(7, 7, 4, 10))
	f("gap between runs", entries(6, 6, 3, 10), entries(8, 8, 3, 10))
	f("half an entry", whole[:len(whole)-1])
	f("half a header", whole[:20])
	f("larger than a segment", entries(6, 6, 3, 4000))
	must(t, l.Append(nil))
	must(t, l.Append(runs(whole)))
	if _, err := l.Read(nil, 8, 1); !errors.Is(err, wal.ErrOutOfRange) {
		t.Error(err)
	}
	if _, err := l.Read(nil, 0, 1); !errors.Is(err, wal.ErrOutOfRange) {
		t.Error(err)
	}
}

func TestOwnerMismatchIsRefused(t *testing.T) {
	w := newWorld(t, true)
	other := small
	other.Owner[0] ^= 1
	if _, _, err := wal.Open(w.fs.Kill(), other); !errors.Is(err, wal.ErrOwner) {
		t.Error(err)
	}
	img := w.fs.Kill()
	must(t, img.Remove("identity"))
	if _, _, err := wal.Open(img, other); !errors.Is(err, wal.ErrOwner) {
		t.Error(err)
	}
	if _, _, err := wal.OpenVotes(img, owner); err != nil {
		t.Error(err)
	}
	if _, _, err := wal.OpenVotes(img, other.Owner); !errors.Is(err, wal.ErrOwner) {
		t.Error(err)
	}
}
