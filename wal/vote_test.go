package wal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/crashfs"
	"github.com/dnode-engine/dnode/wire"
)

func openVotes(t *testing.T, fs wal.FS) (*wal.Votes, wal.VoteState) {
	t.Helper()
	v, st, err := wal.OpenVotes(fs, owner)
	must(t, err)
	return v, st
}

func TestVotesSurvive(t *testing.T) {
	fs := crashfs.New()
	v, st := openVotes(t, fs)
	if !st.Fresh || st.Abstain || st.Vote != (wire.Vote{}) {
		t.Fatalf("%+v", st)
	}
	for term := wire.Term(1); term < 20; term++ {
		want := wire.Vote{Term: term, For: wire.NodeID(term % 3)}
		must(t, v.Save(want))
		for seed := range uint64(8) {
			if _, st := openVotes(t, fs.Crash(seed)); st.Vote != want || st.Abstain || st.Fresh {
				t.Fatalf("after %+v: %+v", want, st)
			}
		}
	}
	must(t, v.Close())
}

// Every byte of the slots, flipped: the other slot says all that was relied on, and
// is written over the damage.
func TestEitherSlotIsEnough(t *testing.T) {
	base := crashfs.New()
	v, _ := openVotes(t, base)
	for n := range wire.Term(3) {
		vote := wire.Vote{Term: n, For: wire.NodeID(2 * n)} // the first is none: a vote that could not be saved tore a slot
		if n > 0 {
			must(t, v.Save(vote))
		}
		for _, slot := range []int64{0, 4096} {
			for off := slot; off < slot+72; off++ {
				img := base.Kill()
				must(t, img.Flip("vote", off, 16))
				if _, st := openVotes(t, img); st != (wal.VoteState{Vote: vote, Mended: true}) {
					t.Fatalf("byte %d of vote %d: %+v", off, n, st)
				}
				if _, st := openVotes(t, img.Crash(uint64(off))); st != (wal.VoteState{Vote: vote}) {
					t.Fatalf("byte %d of vote %d is not mended: %+v", off, n, st)
				}
			}
		}
	}
	b := base.Bytes("vote")
	copy(b[4096:4096+512], base.Bytes("vote")[:512])
	base.SetBytes("vote", b)
	if _, st := openVotes(t, base); st != (wal.VoteState{Vote: wire.Vote{Term: 2, For: 4}, Mended: true}) {
		t.Errorf("slot 0 written to slot 1's place: %+v", st)
	}
}

// A start writes over the worse slot first: a write of it that fails, or is torn by a
// power cut, leaves the better one, whatever was wrong.
func TestBetterSlotOutlastsStart(t *testing.T) {
	base := crashfs.New()
	v, _ := openVotes(t, base)
	must(t, v.Save(wire.Vote{Term: 3, For: 1}))
	old := base.Bytes("vote")
	must(t, v.Save(wire.Vote{Term: 5, For: 2}))
	must(t, v.Save(wire.Vote{Term: 6, For: 2}))
	must(t, base.SyncDir(""))
	f := func(what string, spoil func(b []byte)) {
		t.Helper()
		start := base.Kill()
		b := start.Bytes("vote")
		spoil(b)
		start.SetBytes("vote", b)
		for skip := range 2 {
			for short := range 73 {
				fs := start.Kill()
				fs.Inject(crashfs.Rule{Op: crashfs.OpWrite, Name: "vote", Err: errDisk, Skip: skip, Short: short})
				if _, _, err := wal.OpenVotes(fs, owner); !errors.Is(err, errDisk) {
					t.Fatal(err)
				}
				if _, st := openVotes(t, fs.Kill()); st.Vote.Term != 6 || st.Vote.For != 2 {
					t.Fatalf("%s, write %d failed after %d bytes: %+v", what, skip, short, st)
				}
			}
		}
	}
	for slot := range 2 {
		mine := func(b []byte) []byte { return b[4096*slot:][:72] }
		f("damaged", func(b []byte) { mine(b)[30] ^= 1 })
		f("set back", func(b []byte) { copy(mine(b), mine(old)) })
	}
}

// Of two slots of one version that differ the second is right: the first one's may be
// from a vote that could not be saved.
func TestSecondSlotOfAVersionIsRight(t *testing.T) {
	fs := crashfs.New()
	v, _ := openVotes(t, fs)
	must(t, v.Save(wire.Vote{Term: 3, For: 1}))
	fs.Inject(crashfs.Rule{Op: crashfs.OpSync, Name: "vote", Err: errDisk})
	if err := v.Save(wire.Vote{Term: 4, For: 1}); !errors.Is(err, errDisk) {
		t.Fatal(err)
	}
	fs = fs.Kill()
	failed := fs.Bytes("vote")
	v, _ = openVotes(t, fs) // past the cache: term 3
	must(t, v.Save(wire.Vote{Term: 9, For: 2}))
	b := fs.Bytes("vote")
	copy(b[:72], failed)
	fs.SetBytes("vote", b)
	for range 2 {
		if _, st := openVotes(t, fs); st.Vote != (wire.Vote{Term: 9, For: 2, Abstain: true}) {
			t.Errorf("%+v", st)
		}
	}
}

// The duty to abstain outlasts starts, terms and entries, until a vote is saved that
// says that it is over.
func TestDutyToAbstainLasts(t *testing.T) {
	f := func(what string, term wire.Term, lose func(fs *crashfs.FS)) {
		t.Helper()
		fs := crashfs.New()
		s, _, _, err := wal.OpenStore(fs, small)
		must(t, err)
		must(t, s.SaveVote(wire.Vote{Term: 4, For: 2}))
		old := fs.Bytes("vote")
		must(t, s.SaveVote(wire.Vote{Term: 5, For: 2}))
		must(t, s.Append(runs(entry(1, 1, 10))))
		must(t, s.Sync())
		must(t, s.Close())
		b := fs.Bytes("vote")
		copy(b[:4096], old) // the write of slot 0 was lost
		fs.SetBytes("vote", b)
		lose(fs)
		reopen := func(want wire.Vote) *wal.Store {
			t.Helper()
			s, _, st, err := wal.OpenStore(fs, small)
			if err != nil || st.Vote != want || st.Abstain != want.Abstain {
				t.Fatalf("%s: %+v, %v", what, st, err)
			}
			return s
		}
		known := wire.Vote{Term: term, Abstain: true}
		if term > 0 {
			known.For = 2
		}
		for range 3 { // opening alone never ends it
			must(t, reopen(known).Close())
		}
		s = reopen(known)
		must(t, s.SaveVote(wire.Vote{Term: 6, Abstain: true})) // nor does a new term
		s = reopen(wire.Vote{Term: 6, Abstain: true})
		must(t, s.Append(runs(entry(2, 6, 10)))) // nor do entries: raft decides what they mean
		must(t, s.Sync())
		s = reopen(wire.Vote{Term: 6, Abstain: true})
		must(t, s.SaveVote(wire.Vote{Term: 6}))
		reopen(wire.Vote{Term: 6})
	}
	f("a write was lost", 5, func(*crashfs.FS) {})
	f("zeroed", 0, func(fs *crashfs.FS) { fs.SetBytes("vote", make([]byte, 8192)) })
	f("empty", 0, func(fs *crashfs.FS) { fs.SetBytes("vote", nil) })
	f("missing beside a log", 0, func(fs *crashfs.FS) { must(t, fs.Remove("vote")) })
}

// A file of which neither slot can be read, or made out, is left as it is: what
// cannot be read today can tomorrow, and may be all that is left of the vote.
func TestVoteFileThatSaysNothingIsLeftAlone(t *testing.T) {
	fs := crashfs.New()
	v, _ := openVotes(t, fs)
	want := wire.Vote{Term: 5, For: 2}
	must(t, v.Save(want))
	fs.Inject(crashfs.Rule{Op: crashfs.OpRead, Name: "vote", Err: errDisk, Times: 2})
	if _, st := openVotes(t, fs); !st.Abstain || st.Vote.Term != 0 {
		t.Errorf("unreadable: %+v", st)
	}
	if _, st := openVotes(t, fs); st.Abstain || st.Vote != want {
		t.Errorf("readable again: %+v", st)
	}
	damaged := make([]byte, 8192)
	copy(damaged, "not a vote")
	fs.SetBytes("vote", damaged)
	openVotes(t, fs)
	if !bytes.Equal(fs.Bytes("vote"), damaged) {
		t.Error("damaged: the file was changed")
	}
}

// Wherever the power is cut, one slot alone says all that was ever relied on: the
// other may rot. What only slot 0 has was not relied on yet.
func TestEitherSlotKeepsTheVote(t *testing.T) {
	base := crashfs.New()
	v, _ := openVotes(t, base)
	must(t, v.Save(wire.Vote{Term: 5, For: 2}))
	for op := 1; ; op++ {
		fs := base.Kill()
		fs.StopAt(op)
		known := wire.Term(5)
		v, _, err := wal.OpenVotes(fs, owner)
		for term := wire.Term(6); err == nil && term < 9; term++ {
			if err = v.Save(wire.Vote{Term: term, For: 3}); err == nil {
				known = term
			}
		}
		for img := range fs.Images(1000, uint64(op)) {
			for slot := range int64(2) {
				rotten := img.Kill()
				must(t, rotten.Flip("vote", 4096*slot+30, 1))
				if _, st := openVotes(t, rotten); st.Vote.Term < known || st.Abstain {
					t.Fatalf("power cut before operation %d, slot %d rots: %+v, term %d was relied on", op, slot, st, known)
				}
			}
		}
		if err == nil {
			return
		}
	}
}

// A process that is killed leaves a slot in the page cache alone. The power may be
// cut while the next start writes: nothing is forgotten, and nothing looks like it.
func TestKilledThenCut(t *testing.T) {
	base := crashfs.New()
	v, _ := openVotes(t, base)
	must(t, v.Save(wire.Vote{Term: 5, For: 2}))
	for op := 1; ; op++ {
		fs := base.Kill()
		v, _ := openVotes(t, fs)
		fs.StopAt(fs.Ops() + op)
		saved := v.Save(wire.Vote{Term: 6, For: 3})
		for next := 1; next < 12; next++ { // a start needs eight
			again := fs.Kill()
			again.StopAt(next)
			_, _, _ = wal.OpenVotes(again, owner)
			for img := range again.Images(1000, uint64(op)) {
				if _, st := openVotes(t, img); st.Abstain || st.Vote.Term < 5 || saved == nil && st.Vote.Term != 6 {
					t.Fatalf("killed before operation %d, power cut before %d: %+v", op, next, st)
				}
			}
		}
		if saved == nil {
			return
		}
	}
}

// Slots that are valid but not equal or consecutive: an old slot came back.
func TestOldSlotAbstains(t *testing.T) {
	fs := crashfs.New()
	v, _ := openVotes(t, fs)
	must(t, v.Save(wire.Vote{Term: 1, For: 1}))
	old := fs.Bytes("vote")
	must(t, v.Save(wire.Vote{Term: 2, For: 1}))
	middle := fs.Bytes("vote")
	must(t, v.Save(wire.Vote{Term: 3, For: 1}))
	f := func(what string, slot0, slot1 []byte, abstain bool, term wire.Term) {
		t.Helper()
		img := fs.Kill()
		img.SetBytes("vote", append(append([]byte(nil), slot0[:4096]...), slot1[4096:]...))
		if _, st := openVotes(t, img); st.Abstain != abstain || st.Vote.Term != term {
			t.Errorf("%s: %+v", what, st)
		}
	}
	now := fs.Bytes("vote")
	f("equal", now, now, false, 3)
	f("slot 0 ahead by one", now, middle, false, 3)
	f("slot 0 ahead by two", now, old, true, 3)
	f("slot 1 ahead", middle, now, true, 3)
}

// A file of a later version is left alone.
func TestVoteFileOfLaterVersion(t *testing.T) {
	fs := crashfs.New()
	openVotes(t, fs)
	b := fs.Bytes("vote")
	b[8] = 2
	binary.LittleEndian.PutUint32(b[68:], wire.Checksum(b[:68]))
	fs.SetBytes("vote", b)
	if _, _, err := wal.OpenVotes(fs, owner); err == nil || !strings.Contains(err.Error(), "format version 2") {
		t.Error(err)
	}
	if !bytes.Equal(fs.Bytes("vote"), b) {
		t.Error("the file was changed")
	}
}

func TestIdentity(t *testing.T) {
	fs := crashfs.New()
	if _, err := wal.LoadIdentity(fs); !errors.Is(err, wal.ErrNotExist) {
		t.Fatal(err)
	}
	id := wal.Identity{Replica: owner, Name: "node-1", Cluster: wire.ClusterID{9}, ID: 3, LastSealed: 4}
	must(t, wal.SaveIdentity(fs, id))
	id.Name, id.LastSealed = "n2", 2
	must(t, wal.SaveIdentity(fs, id))
	id.LastSealed = 4 // never goes back
	if got, err := wal.LoadIdentity(fs.Crash(3)); err != nil || got != id {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := wal.SaveIdentity(fs, wal.Identity{Name: string(make([]byte, 65))}); !errors.Is(err, wire.ErrTooLarge) {
		t.Error(err)
	}
	whole := fs.Bytes("identity")
	var c *wal.CorruptError
	for i := range whole {
		img := fs.Kill()
		must(t, img.Flip("identity", int64(i), 1))
		if _, err := wal.LoadIdentity(img); !errors.As(err, &c) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
		img.SetBytes("identity", whole[:i])
		if _, err := wal.LoadIdentity(img); !errors.As(err, &c) {
			t.Fatalf("cut at %d: %v", i, err)
		}
		if _, _, err := wal.Open(img, small); !errors.As(err, &c) {
			t.Fatalf("log opened with the identity cut at %d: %v", i, err)
		}
	}
}

// The identity file remembers what was sealed, so that the newest segments
// cannot vanish together unnoticed.
func TestIdentityRemembersSealedSegments(t *testing.T) {
	fs := crashfs.New()
	must(t, wal.SaveIdentity(fs, wal.Identity{Replica: owner, Name: "n"}))
	l, _ := mustOpen(t, fs, small)
	for i := wire.Index(1); i <= 12; i++ {
		must(t, l.Append(runs(entry(i, 1, 900))))
		must(t, l.Sync())
	}
	must(t, l.Seal())
	id, err := wal.LoadIdentity(fs)
	must(t, err)
	if id.LastSealed != 3 || id.Name != "n" {
		t.Fatalf("%+v", id)
	}
	must(t, fs.Remove("wal/00000004.seg"))
	must(t, fs.Remove("wal/00000003.seg"))
	var c *wal.CorruptError
	if _, _, err := wal.Open(fs, small); !errors.As(err, &c) || c.File != "wal/00000003.seg" {
		t.Fatal(err)
	}
	must(t, fs.Remove("wal/00000002.seg"))
	must(t, fs.Remove("wal/00000001.seg"))
	if _, _, err := wal.Open(fs, small); !errors.As(err, &c) || c.File != "wal/00000001.seg" {
		t.Fatal(err)
	}
	// Without an idle moment it lags behind, but not for ever.
	fs = crashfs.New()
	must(t, wal.SaveIdentity(fs, wal.Identity{Replica: owner, Name: "n"}))
	l, _ = mustOpen(t, fs, small)
	for i := wire.Index(1); i <= 200; i++ {
		must(t, l.Append(runs(entry(i, 1, 900))))
		names, err := fs.List("wal")
		must(t, err)
		id, err = wal.LoadIdentity(fs)
		if sealed := uint64(len(names) - 1); err != nil || sealed > id.LastSealed+16 {
			t.Fatalf("%+v with %d segments sealed, %v", id, sealed, err)
		}
	}
	if id.LastSealed < 40 {
		t.Fatalf("%+v after 66 segments", id)
	}
}

// A vote file that is lost beside a log is made anew with the duty to abstain in
// it: a power cut within that start cannot leave a file that knows of no vote
// and of no duty.
func TestLostVotesAbstainThroughPowerCut(t *testing.T) {
	base := crashfs.New()
	s, _, _, err := wal.OpenStore(base, small)
	must(t, err)
	must(t, s.SaveVote(wire.Vote{Term: 5, For: 2}))
	must(t, s.Append(runs(entry(1, 5, 10))))
	must(t, s.Sync())
	must(t, s.Close())
	must(t, base.Remove("vote"))
	must(t, base.SyncDir(""))
	for op := 1; ; op++ {
		fs := base.Kill()
		fs.StopAt(op)
		_, _, _, err := wal.OpenStore(fs, small)
		for img := range fs.Images(1000, uint64(op)) {
			_, _, st, err := wal.OpenStore(img, small)
			if err != nil || !st.Abstain {
				t.Fatalf("power cut before operation %d: %+v, %v", op, st, err)
			}
		}
		if err == nil {
			return
		}
	}
}

// Whether there is a log beside the missing vote file must be known before one is
// made.
func TestLostVotesOfAnUnknownLog(t *testing.T) {
	fs := crashfs.New()
	s, _, _, err := wal.OpenStore(fs, small)
	must(t, err)
	must(t, s.Close())
	must(t, fs.Remove("vote"))
	fs.Inject(crashfs.Rule{Op: crashfs.OpList, Name: "wal", Err: wal.ErrNoFiles})
	if _, _, _, err := wal.OpenStore(fs, small); !errors.Is(err, wal.ErrNoFiles) {
		t.Errorf("the folder cannot be listed: %v", err)
	}
	if _, _, votes, err := wal.OpenStore(fs, small); err != nil || !votes.Abstain {
		t.Errorf("vote %+v after that, %v", votes, err)
	}
}
