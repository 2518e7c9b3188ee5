package wal_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/crashfs"
	"github.com/dnode-engine/dnode/wire"
)

// witness knows what was acknowledged, and what else may have reached the disk.
type witness struct {
	acked model  // synced entries
	tried []byte // appended since, in order

	vote, triedVote wire.Vote
	name, triedName string
}

// life is a script on one data folder. It ends at the first error.
type life struct {
	fs    *crashfs.FS
	store *wal.Store
	w     witness
	err   error
}

func (f *life) do(step func() error) {
	if f.err == nil {
		f.err = step()
	}
}

func (f *life) append(b []byte) {
	f.do(func() error { f.w.tried = append(f.w.tried, b...); return f.store.Append(runs(b)) })
}

func (f *life) sync() {
	f.do(func() error {
		if err := f.store.Sync(); err != nil {
			return err
		}
		f.w.acked = slices.Clone(f.w.acked)
		f.w.acked.append(f.w.tried)
		f.w.tried = nil
		return nil
	})
}

func (f *life) put(b []byte) { f.append(b); f.sync() }

func (f *life) vote(v wire.Vote) {
	f.do(func() error {
		f.w.triedVote = v
		if err := f.store.SaveVote(v); err != nil {
			return err
		}
		f.w.vote = v
		return nil
	})
}

func (f *life) identity(name string) {
	f.do(func() error {
		f.w.triedName = name
		if err := wal.SaveIdentity(f.fs, wal.Identity{Replica: owner, Name: name}); err != nil {
			return err
		}
		f.w.name = name
		return nil
	})
}

func (f *life) seal() { f.do(func() error { return f.store.Seal() }) }

func (f *life) prepare() {
	f.do(func() error {
		n, ok := f.store.Log().NeedsSegment()
		if !ok {
			return nil
		}
		if err := wal.PrepareSegment(f.fs, small, n); err != nil {
			return err
		}
		f.store.Log().SegmentReady(n)
		return nil
	})
}

// run plays the whole script.
func (f *life) run() {
	f.identity("n1")
	f.do(func() (err error) { f.store, _, _, err = wal.OpenStore(f.fs, small); return err })
	f.vote(wire.Vote{Term: 1, For: 1})
	f.put(entries(1, 1, 1, 8))
	f.put(entries(2, 9, 1, 100))
	f.seal()
	f.prepare()
	f.put(entries(10, 12, 1, 900)) // ends in segment 2
	f.vote(wire.Vote{Term: 2})
	f.put(entries(8, 14, 2, 50)) // supersedes across segments
	f.append(entries(15, 16, 2, 300))
	f.append(entries(16, 18, 3, 300)) // several groups under one sync
	f.put(entries(15, 15, 3, 80))
	f.prepare()
	f.seal()
	f.put(entries(15, 30, 4, 700)) // several segments in one batch
	f.identity("renamed")
	f.put(entries(30, 31, 5, 10))
	f.put(entries(32, 32, 5, 3000))
	f.vote(wire.Vote{Term: 4, For: 2})
	f.put(entries(20, 33, 6, 600)) // supersedes three segments
	f.seal()
	f.do(func() error { return f.store.Close() })
}

// check opens what a crash has left and compares it with the witness. It
// returns what was found.
func (w *witness) check(fs *crashfs.FS) (model, error) {
	f, err := w.open(fs)
	return f.m, err
}

// found is what a start has found.
type found struct {
	store *wal.Store
	m     model
	vote  wire.Vote
	cut   *wal.CutRange
}

func (w *witness) open(fs *crashfs.FS) (found, error) {
	id, err := wal.LoadIdentity(fs)
	if errors.Is(err, wal.ErrNotExist) && w.name == "" {
		err = nil
	}
	if err != nil {
		return found{}, err
	}
	if id.Name != w.name && id.Name != w.triedName {
		return found{}, fmt.Errorf("identity is %q, acknowledged %q, tried %q", id.Name, w.name, w.triedName)
	}
	store, rec, vote, err := wal.OpenStore(fs, small)
	if err != nil {
		return found{}, err
	}
	if vote.Abstain || vote.Vote != w.vote && vote.Vote != w.triedVote {
		return found{}, fmt.Errorf("vote is %+v, acknowledged %+v, tried %+v", vote, w.vote, w.triedVote)
	}
	got, err := readAll(store.Log(), 1<<20)
	if err != nil {
		return found{}, err
	}
	var m model
	m.append(got)
	if len(m) != int(rec.Last) || !w.allows(m) {
		return found{}, fmt.Errorf("recovered %d entries, acknowledged %d: the content is not one of those possible", len(m), len(w.acked))
	}
	return found{store, m, vote.Vote, rec.Cut}, nil
}

// allows reports whether m is what was acknowledged, followed by or superseded
// with some entries of what was tried.
func (w *witness) allows(m model) bool {
	if slices.EqualFunc(m, w.acked, bytes.Equal) {
		return true
	}
	want := slices.Clone(w.acked)
	for b := w.tried; len(b) > 0; {
		e, err := wire.ParseEntry(b)
		if err != nil {
			panic(err)
		}
		want.append(b[:e.Size])
		b = b[e.Size:]
		if slices.EqualFunc(m, want, bytes.Equal) {
			return true
		}
	}
	return false
}

// crashEverywhere cuts the power before every operation of the script, takes
// crash images by several seeds, and returns the first thing found wrong.
func crashEverywhere(lie bool, seeds uint64) (images int, err error) {
	for op := 1; ; op++ {
		f := &life{fs: crashfs.New()}
		f.fs.Lie(lie)
		f.fs.StopAt(op)
		f.run()
		for seed := range seeds {
			img := f.fs.Crash(seed + uint64(op)*1000)
			if err := surviveTwice(&f.w, img, seed); err != nil {
				return images, fmt.Errorf("power cut before operation %d, seed %d: %w", op, seed, err)
			}
			images++
		}
		if err := surviveTwice(&f.w, f.fs.Kill(), uint64(op)); err != nil {
			return images, fmt.Errorf("killed before operation %d: %w", op, err)
		}
		if f.err == nil {
			return images, nil
		}
		if !errors.Is(f.err, crashfs.ErrStopped) {
			return images, f.err
		}
	}
}

// surviveTwice cuts the power again within the recovery, and once more right
// after a whole recovery, which must find what that one has reported.
func surviveTwice(w *witness, img *crashfs.FS, seed uint64) error {
	cut := img.Kill()
	cut.StopAt(1 + int(seed*7%40))
	w.check(cut) //nolint:errcheck // it is cut off somewhere
	if _, err := w.check(cut.Crash(seed + 77)); err != nil {
		return fmt.Errorf("recovery cut off: %w", err)
	}
	first, err := w.open(img)
	if err != nil {
		return err
	}
	again := witness{acked: first.m, vote: first.vote, triedVote: first.vote, name: w.name, triedName: w.triedName}
	second, err := again.open(img.Crash(seed + 99))
	switch {
	case err != nil:
		err = fmt.Errorf("power cut after recovery: %w", err)
	case second.cut != nil:
		err = fmt.Errorf("power cut after recovery: %v", second.cut)
	}
	if err != nil || seed%3 != 0 {
		return err
	}
	return goOn(first.store, first.m, img, seed)
}

// goOn appends to a recovered log, into the next segment, and cuts the power.
func goOn(store *wal.Store, m model, img *crashfs.FS, seed uint64) error {
	m = slices.Clone(m)
	next := wire.Index(len(m) + 1)
	b := entries(next, next+4, 50, 800)
	m.append(b)
	if err := errors.Join(store.Append(runs(b)), store.Sync()); err != nil {
		return err
	}
	l, rec, err := wal.Open(img.Crash(seed+111), small)
	if err != nil {
		return fmt.Errorf("after going on: %w", err)
	}
	got, err := readAll(l, 1<<20)
	if err == nil && !bytes.Equal(got, m.bytes()) {
		err = fmt.Errorf("after going on %d entries of %d are left", rec.Last, len(m))
	}
	return err
}

// Everything acknowledged is there after a power cut anywhere, and nothing
// that was never appended.
func TestPowerCutAtEveryOperation(t *testing.T) {
	images, err := crashEverywhere(false, 6)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d crash images", images)
}

// The same test on a disk that only claims to sync must fail, and not only
// because of a file that is missing: acknowledged entries must be gone.
func TestPowerCutTestSeesLyingDisk(t *testing.T) {
	if _, err := crashEverywhere(true, 1); err == nil {
		t.Fatal("a disk that never syncs passes the power cut test")
	}
	lost := 0
	for seed := range uint64(100) {
		fs := crashfs.New()
		l, _ := mustOpen(t, fs, small)
		fs.Lie(true) // from here on
		w := witness{}
		for i := wire.Index(1); i < 8; i++ {
			w.acked.append(entry(i, 1, 700))
			must(t, l.Append(runs(entry(i, 1, 700))))
			must(t, l.Sync())
		}
		again, _, err := wal.Open(fs.Crash(seed), small)
		if err != nil {
			continue // corruption is seen: not what is looked for here
		}
		var m model
		b, err := readAll(again, 1<<20)
		must(t, err)
		m.append(b)
		if !w.allows(m) {
			lost++
		}
	}
	if lost == 0 {
		t.Fatal("no image of a disk that never syncs has lost an acknowledged entry")
	}
	t.Logf("%d of 100 images have lost acknowledged entries without a word", lost)
}
