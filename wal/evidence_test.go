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

// The identity file speaks for a sealed segment when nothing else does: the end
// of the segment, its seal, and all of the next one are gone.
func TestIdentityAttestsSealedSegment(t *testing.T) {
	f := func(recorded bool) error {
		t.Helper()
		fs := crashfs.New()
		must(t, wal.SaveIdentity(fs, wal.Identity{Replica: owner, Name: "n"}))
		l, _ := mustOpen(t, fs, small)
		for i := wire.Index(1); i <= 4; i++ {
			must(t, l.Append(runs(entry(i, 1, 900))))
			must(t, l.Sync())
		}
		if recorded {
			must(t, l.Seal())
		}
		wipe := func(file string, from int) {
			b := fs.Bytes(file)
			clear(b[from:])
			fs.SetBytes(file, b)
		}
		wipe("wal/00000001.seg", 2000)
		wipe("wal/00000002.seg", 512)
		_, _, err := wal.Open(fs, small)
		return err
	}
	must(t, f(false))
	var c *wal.CorruptError
	if err := f(true); !errors.As(err, &c) || c.File != "wal/00000001.seg" {
		t.Error(err)
	}
}

// A log keeps to its fence without a store around it.
func TestFencedLogStaysFenced(t *testing.T) {
	fs := crashfs.New()
	l, _ := mustOpen(t, fs, small)
	must(t, l.Append(runs(entries(1, 2, 1, 50))))
	fs.Inject(crashfs.Rule{Op: crashfs.OpSync, Name: ".seg", Err: errDisk})
	for _, err := range []error{l.Sync(), l.Sync(), l.Append(runs(entry(3, 1, 9))), l.Seal()} {
		if !errors.Is(err, wal.ErrFenced) || !errors.Is(err, errDisk) {
			t.Error(err)
		}
	}
	if n, ok := l.NeedsSegment(); ok {
		t.Errorf("a fenced log wants segment %d", n)
	}
}

// After a fence a vote is read past the page cache, too: what the failed sync
// never brought to the disk was never relied on.
func TestFencedVoteIsReadPastTheCache(t *testing.T) {
	f := func(skip int, want wire.Term) {
		t.Helper()
		fs := crashfs.New()
		v, _ := openVotes(t, fs)
		must(t, v.Save(wire.Vote{Term: 1, For: 2}))
		fs.Inject(crashfs.Rule{Op: crashfs.OpSync, Name: "vote", Skip: skip, Err: errDisk})
		if err := v.Save(wire.Vote{Term: 2, For: 3}); !errors.Is(err, wal.ErrFenced) {
			t.Fatal(err)
		}
		if _, st := openVotes(t, fs.Kill()); st.Abstain || st.Vote.Term != want {
			t.Errorf("sync %d failed: %+v, want term %d", skip, st, want)
		}
	}
	f(0, 1)
	f(1, 2)
}

// A file system that copies on write can have no room for a vote: that refuses
// the vote and fences nothing.
func TestNoSpaceForAVote(t *testing.T) {
	for short := range 100 {
		fs := crashfs.New()
		v, _ := openVotes(t, fs)
		must(t, v.Save(wire.Vote{Term: 1, For: 2}))
		fs.Inject(crashfs.Rule{Op: crashfs.OpWrite, Name: "vote", Short: short, Err: wal.ErrNoSpace})
		want := wire.Vote{Term: 2, For: 3}
		if err := v.Save(want); !errors.Is(err, wal.ErrNoSpace) || errors.Is(err, wal.ErrFenced) {
			t.Fatal(err)
		}
		if _, st := openVotes(t, fs.Kill()); st.Vote.Term == 2 && !st.Abstain && short < 72 {
			t.Fatalf("after %d bytes: %+v, though it was refused", short, st)
		}
		must(t, v.Save(want))
		if _, st := openVotes(t, fs.Kill()); st.Vote != want || st.Abstain {
			t.Fatalf("after %d bytes and with room again: %+v", short, st)
		}
	}
}

// What attests the last whole group can be a mark in the torn tail behind it. The
// tail is cut, and the group must not be left with nothing that speaks for it: rot
// in it would be taken for a torn write at the start after.
func TestCutTailLeavesAttestation(t *testing.T) {
	fs := crashfs.New()
	l, _ := mustOpen(t, fs, small)
	must(t, l.Append(runs(entries(1, 3, 1, 50))))
	must(t, l.Sync())
	must(t, l.Append(runs(entries(4, 6, 1, 300))))
	must(t, l.Sync())
	b := fs.Bytes("wal/00000001.seg")
	clear(b[1024:1536]) // within the second group; its mark is whole
	fs.SetBytes("wal/00000001.seg", b)
	_, rec := mustOpen(t, fs, small)
	if rec.Last != 3 || rec.Cut == nil {
		t.Fatalf("recovered %+v", rec)
	}
	must(t, fs.Flip("wal/00000001.seg", 600, 1))
	var c *wal.CorruptError
	if _, _, err := wal.Open(fs, small); !errors.As(err, &c) {
		t.Fatalf("rot in a group that was durable: %v", err)
	}
}

// A write that went astray can leave a record of another history, as valid as the
// one that should stand there: what comes after it says so, and is refused.
func TestRecordOfAnotherHistory(t *testing.T) {
	const file = "wal/00000001.seg"
	history := func(term wire.Term) (*crashfs.FS, int) {
		fs := crashfs.New()
		l, _ := mustOpen(t, fs, small)
		must(t, l.Append(runs(entry(1, term, 50))))
		end := 0
		segments(t, fs, func(_ string, e int64) { end = int(e) })
		must(t, l.Append(runs(entry(2, 2, 50))))
		must(t, l.Sync())
		must(t, l.Append(runs(entry(3, 2, 50))))
		must(t, l.Sync())
		return fs, end
	}
	fs, end := history(1)
	other, _ := history(2)
	b := fs.Bytes(file)
	copy(b[512:end], other.Bytes(file)[512:end])
	fs.SetBytes(file, b)
	var c *wal.CorruptError
	_, _, err := wal.Open(fs, small)
	if !errors.As(err, &c) || c.File != file || c.Offset != int64(end) || !strings.Contains(c.Reason, "does not follow on the record before it") {
		t.Errorf("%v, want damage at offset %d", err, end)
	}
}

// A sealed segment that was brought back from another copy of the log holds the
// same entries in other groups: the next segment's sequence shows it.
func TestSegmentOfAnotherHistory(t *testing.T) {
	history := func(batches ...[]byte) *crashfs.FS {
		fs := crashfs.New()
		l, _ := mustOpen(t, fs, small)
		for _, b := range batches {
			must(t, l.Append(runs(b)))
			must(t, l.Sync())
		}
		return fs
	}
	f := func(first ...[]byte) error {
		t.Helper()
		fs := history(append(first, entry(4, 1, 900))...)
		fs.SetBytes("wal/00000001.seg", history(entries(1, 2, 1, 900), entry(3, 1, 900), entry(4, 1, 900)).Bytes("wal/00000001.seg"))
		_, _, err := wal.Open(fs, small)
		return err
	}
	var c *wal.CorruptError
	if err := f(entry(1, 1, 900), entry(2, 1, 900), entry(3, 1, 900)); !errors.As(err, &c) || c.File != "wal/00000002.seg" {
		t.Errorf("a group fewer: %v", err)
	}
	if err := f(entries(1, 3, 1, 900)); !errors.As(err, &c) || c.File != "wal/00000002.seg" {
		t.Errorf("a group more: %v", err)
	}
	must(t, f(entries(1, 2, 1, 900), entry(3, 1, 900)))
}

// A torn tail is cut to its end, however long: nothing of it may be found by a
// later start, behind what was written in its place.
func TestCutLeavesNothingOfALongTail(t *testing.T) {
	const file = "wal/00000001.seg"
	opt := wal.Options{SegmentBytes: 64 << 10, Owner: owner}
	fs := crashfs.New()
	l, _ := mustOpen(t, fs, opt)
	must(t, l.Append(runs(entries(1, 3, 1, 50))))
	must(t, l.Sync())
	must(t, l.Append(runs(entries(4, 9, 1, 3000))))
	must(t, l.Append(runs(entries(10, 12, 1, 3000))))
	b := fs.Bytes(file)
	clear(b[1024:1536])
	fs.SetBytes(file, b)
	img := fs.Kill()
	_, rec := mustOpen(t, img, opt)
	if rec.Last != 3 || rec.Cut == nil || rec.Cut.Bytes < 27000 {
		t.Fatalf("recovered %+v", rec)
	}
	left := bytes.TrimLeft(img.Bytes(file)[rec.Cut.Offset+512:], "\x00") // behind recovery's own seal
	if len(left) > 0 {
		t.Errorf("%d bytes from the tail on are not zero", len(left))
	}
}

// Whether the last user was fenced must be known: a start that cannot look does
// not go on as if it had not been.
func TestFenceThatCannotBeRead(t *testing.T) {
	fs := crashfs.New()
	s, _, _, err := wal.OpenStore(fs, small)
	must(t, err)
	must(t, s.Close())
	for skip := range 2 { // the vote file, the log
		fs.Inject(crashfs.Rule{Op: crashfs.OpOpen, Name: "fence", Skip: skip, Err: errDisk})
		if _, _, _, err := wal.OpenStore(fs, small); !errors.Is(err, errDisk) {
			t.Errorf("look %d for the fence failed: %v", skip, err)
		}
		fs.ClearRules()
	}
}
