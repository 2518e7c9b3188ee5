package wal_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/crashfs"
	"github.com/dnode-engine/dnode/wire"
)

// A read that fails says nothing about what stands there: wherever it strikes,
// the log is refused and nothing is cut, not even of the last group, and the
// next start, which can read, finds everything. One entry is longer than what
// is read at once, and one looks like seals and marks to those who search.
func TestFailedReadCutsNothing(t *testing.T) {
	opt := wal.Options{SegmentBytes: 2 << 20, Owner: owner}
	base := crashfs.New()
	l, _ := mustOpen(t, base, opt)
	must(t, l.Append(runs(entries(1, 3, 1, 50))))
	must(t, l.Append(runs(entries(4, 4, 1, 700<<10))))
	must(t, l.Sync())
	long := base.Kill() // nothing attests the long entry
	bait := append(make([]byte, 8), bytes.Repeat([]byte{3, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 9, 0, 0, 0}, 4)...)
	must(t, l.Append(runs(wire.AppendEntry(nil, wire.EntryHead{Type: wire.EntryCommand, Index: 5, Term: 1}, nil, bait))))
	must(t, l.Sync())
	torn := base.Kill()
	must(t, torn.Flip("wal/00000001.seg", 512+48, 1))
	f := func(what string, from *crashfs.FS, last wire.Index, refused bool) {
		t.Helper()
		struck := 0
		for skip := range 30 {
			fs := from.Kill()
			fs.Inject(crashfs.Rule{Op: crashfs.OpRead, Name: ".seg", Skip: skip, Err: errDisk})
			before := fs.Bytes("wal/00000001.seg")
			l, rec, err := wal.Open(fs, opt)
			if err == nil {
				if rec.Last != last || rec.Cut != nil {
					t.Fatalf("%s, read %d: %+v", what, skip, rec)
				}
				must(t, l.Close())
				continue
			}
			struck++
			var c *wal.CorruptError
			if !errors.As(err, &c) || skip > 0 && !strings.Contains(err.Error(), "start again") || c.File != "wal/00000001.seg" || !bytes.Equal(before, fs.Bytes("wal/00000001.seg")) {
				t.Fatalf("%s, read %d: %v", what, skip, err)
			}
			fs.ClearRules()
			if _, rec, err := wal.Open(fs, opt); (err != nil) != refused || err == nil && rec.Last != last {
				t.Fatalf("%s, read %d: then %+v, %v", what, skip, rec, err)
			}
		}
		if struck < 5 {
			t.Fatalf("%s: only %d reads have failed", what, struck)
		}
	}
	f("whole", base, 5, false)
	f("long", long, 4, false)
	f("damaged", torn, 0, true)
}

// Inspect shows what cannot be read as what it is, and goes on.
func TestInspectShowsUnreadable(t *testing.T) {
	base := crashfs.New()
	l, _ := mustOpen(t, base, small)
	must(t, l.Append(runs(entries(1, 9, 1, 900)))) // three segments
	must(t, l.Sync())
	shown := 0
	for skip := range 20 {
		fs := base.Kill()
		fs.Inject(crashfs.Rule{Op: crashfs.OpRead, Name: "02.seg", Skip: skip, Err: errDisk})
		kinds, texts, corrupt, verdict := inspect(t, fs)
		if !strings.Contains(strings.Join(texts, "\n"), "cannot read at offset 512") || verdict {
			continue // it struck elsewhere, or only when the verdict was found
		}
		shown++
		if all := strings.Join(kinds, " "); !corrupt || !strings.Contains(all, "damage segment group entry entry entry free verdict") {
			t.Error(all)
		}
	}
	if shown == 0 {
		t.Error("no failed read was shown")
	}
}

// A log that fences itself while it takes over a segment stops the votes too.
func TestFailedTakeOverFencesVotes(t *testing.T) {
	fs := crashfs.New()
	s, _, _, err := wal.OpenStore(fs, small)
	must(t, err)
	n, _ := s.Log().NeedsSegment()
	must(t, wal.PrepareSegment(fs, small, n))
	fs.Inject(crashfs.Rule{Op: crashfs.OpSyncDir, Name: "wal", Err: errDisk})
	s.Log().SegmentReady(n)
	for _, err := range []error{s.Err(), s.SaveVote(wire.Vote{Term: 3, For: 1}), s.Seal(), s.Sync()} {
		if !errors.Is(err, wal.ErrFenced) || !errors.Is(err, errDisk) {
			t.Error(err)
		}
	}
}

// Inspect explains what is no part of the log: votes that may be forgotten, and
// the marker of a failed sync.
func TestInspectExplainsVoteAndFence(t *testing.T) {
	f := func(what string, damage func(fs *crashfs.FS), kind, text string) {
		t.Helper()
		fs := crashfs.New()
		s, _, _, err := wal.OpenStore(fs, small)
		must(t, err)
		for range 2 { // segments that exist say nothing about what was durable in the first
			n, _ := s.Log().NeedsSegment()
			must(t, wal.PrepareSegment(fs, small, n))
			s.Log().SegmentReady(n)
		}
		must(t, s.SaveVote(wire.Vote{Term: 1, For: 2}))
		must(t, s.Append(runs(entry(1, 1, 9))))
		must(t, s.Sync())
		damage(fs)
		kinds, texts, corrupt, verdict := inspect(t, fs)
		all := strings.Join(texts, "\n")
		if corrupt || verdict || !strings.Contains(strings.Join(kinds, " "), kind) || !strings.Contains(all, text) {
			t.Errorf("%s: %v\n%s", what, kinds, all)
		}
	}
	f("slot", func(fs *crashfs.FS) { must(t, fs.Flip("vote", 30, 1)) }, "vote slot segment", "this slot is damaged: the other holds all that was relied on")
	f("old slot", func(fs *crashfs.FS) {
		now := fs.Bytes("vote")
		v, _ := openVotes(t, fs)
		must(t, v.Save(wire.Vote{Term: 2}))
		fs.SetBytes("vote", append(now[:4096], fs.Bytes("vote")[4096:]...))
	}, "damage segment", "slots valid: true, true: a vote may be forgotten")
	f("missing", func(fs *crashfs.FS) { must(t, fs.Remove("vote")) }, "damage segment", "no vote file beside a log")
	f("lost", func(fs *crashfs.FS) { fs.SetBytes("vote", make([]byte, 8192)) }, "damage segment", "slots valid: false, false: nothing is left of how this node voted")
	f("fence", func(fs *crashfs.FS) { _, err := fs.Create("fence"); must(t, err) }, "vote fence segment", "a write or sync that failed")
	f("identity", func(*crashfs.FS) {}, "damage vote", "no identity file beside a log")
	f("tail", func(fs *crashfs.FS) { must(t, fs.Flip("wal/00000001.seg", 600, 1)) }, "damage segment free", "the next start cuts it")
}

// A vote file of another replica is named, as the start refuses it.
func TestInspectRefusesForeignVotes(t *testing.T) {
	fs, other := crashfs.New(), crashfs.New()
	must(t, wal.SaveIdentity(fs, wal.Identity{Replica: owner, Name: "n1"}))
	_, _, _, err := wal.OpenStore(fs, small)
	must(t, err)
	_, _, err = wal.OpenVotes(other, wire.ReplicaID{9})
	must(t, err)
	fs.SetBytes("vote", other.Bytes("vote"))
	_, texts, corrupt, verdict := inspect(t, fs)
	if all := strings.Join(texts, "\n"); !corrupt || !verdict || !strings.Contains(all, "slot 0 of the vote file is of replica 0900") {
		t.Error(all)
	}
	if _, _, _, err := wal.OpenStore(fs, small); !errors.Is(err, wal.ErrOwner) {
		t.Error(err)
	}
}

// However many segments are missing below one, they are one line.
func TestInspectManyMissing(t *testing.T) {
	fs := crashfs.New()
	must(t, wal.SaveIdentity(fs, wal.Identity{Replica: owner, Name: "n1", LastSealed: 1 << 60}))
	fs.SetBytes("wal/18446744073709551615.seg", make([]byte, 4096))
	_, texts, corrupt, verdict := inspect(t, fs)
	if all := strings.Join(texts, "\n"); !corrupt || !verdict || !strings.Contains(all, "segments 1 to 18446744073709551614 are missing") {
		t.Error(all)
	}
}

// A log that is gone from a folder that belongs to a cluster is no empty log.
func TestInspectMissesLog(t *testing.T) {
	fs := crashfs.New()
	must(t, wal.SaveIdentity(fs, wal.Identity{Replica: owner, Name: "n1", Cluster: wire.ClusterID{1}}))
	if _, texts, _, verdict := inspect(t, fs); !verdict || !strings.Contains(strings.Join(texts, "\n"), "files are missing") {
		t.Error(texts)
	}
}
