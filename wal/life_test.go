package wal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/crashfs"
	"github.com/dnode-engine/dnode/wire"
)

// witness knows what was acknowledged, and what else may have reached the disk.
type witness struct {
	acked model    // synced entries
	tried []byte   // appended since, in order
	other [][]byte // what was appended since where an append was refused half way

	votes []wire.Vote // the last one acknowledged, then those tried since
	names []string    // of the identity, likewise

	sealed     bool // a seal is known to be on the disk behind the last group
	mayAbstain bool // a write or read of the vote file has failed
	version    int  // counts changes
}

// now is what a reader should see.
func (w *witness) now() model {
	m := slices.Clone(w.acked)
	m.append(w.tried)
	return m
}

func (w *witness) synced() {
	w.acked, w.tried, w.other = w.now(), nil, nil
	w.version++
}

// refused takes back that b was tried, but for what the log has of it.
func (w *witness) refused(b []byte, has model) error {
	w.version++
	w.other = append(w.other, w.tried)
	for n := len(w.tried) - len(b); ; n += entrySize(w.tried[n:]) {
		short := witness{acked: w.acked, tried: w.tried[:n]}
		if slices.EqualFunc(short.now(), has, bytes.Equal) {
			w.tried = short.tried
			return nil
		}
		if n == len(w.tried) {
			return errors.New("after a refused append the log holds something else")
		}
	}
}

func entrySize(b []byte) int { return int(binary.LittleEndian.Uint32(b)) }

// allows reports whether m is what was acknowledged, followed by or superseded
// with some entries of what was tried.
func (w *witness) allows(m model) bool {
	for _, tried := range append(w.other[:len(w.other):len(w.other)], w.tried) {
		want := slices.Clone(w.acked)
		for {
			if slices.EqualFunc(m, want, bytes.Equal) {
				return true
			}
			if len(tried) == 0 {
				break
			}
			n := entrySize(tried)
			want.append(tried[:n])
			tried = tried[n:]
		}
	}
	return false
}

// writtenBytes returns how much of the segments is in use for records.
func writtenBytes(fs wal.FS) (n int) {
	files := fs.(interface{ Bytes(name string) []byte })
	for number := uint64(1); ; number++ {
		b := files.Bytes(segmentName(number))
		if b == nil {
			return n
		}
		n += len(bytes.TrimRight(b[min(len(b), crashfs.SectorBytes):], "\x00"))
	}
}

// found is what a start has found.
type found struct {
	store *wal.Store
	m     model
	vote  wire.Vote
	name  string
	cut   *wal.CutRange
}

// open starts on a folder and compares what it finds with what may be there.
func (w *witness) open(fs wal.FS) (f found, err error) {
	id, err := wal.LoadIdentity(fs)
	if err != nil && (!errors.Is(err, wal.ErrNotExist) || w.names[0] != "") {
		return f, err
	}
	if f.name = id.Name; !slices.Contains(w.names, id.Name) {
		return f, fmt.Errorf("identity is %q, acknowledged or tried %q", id.Name, w.names)
	}
	before := writtenBytes(fs)
	store, rec, vote, err := wal.OpenStore(fs, small)
	if err != nil {
		return f, err
	}
	if w.sealed && writtenBytes(fs) != before {
		return f, errors.New("a sealed log is sealed again")
	}
	if vote.Abstain && !w.mayAbstain || !vote.Abstain && !slices.Contains(w.votes, vote.Vote) {
		return f, fmt.Errorf("vote is %+v, acknowledged or tried %+v", vote, w.votes)
	}
	got, err := readAll(store.Log(), 1<<20)
	if err != nil {
		return f, err
	}
	f.store, f.vote, f.cut = store, vote.Vote, rec.Cut
	f.m.append(got)
	if len(f.m) != int(rec.Last) || !w.allows(f.m) {
		return f, fmt.Errorf("recovered %d entries, acknowledged %d: the content is not one of those possible", len(f.m), len(w.acked))
	}
	return f, f.m.said(rec)
}

// knows is a witness of exactly what was found.
func (f *found) knows() witness {
	return witness{acked: f.m, sealed: true, votes: []wire.Vote{f.vote}, names: []string{f.name}, mayAbstain: f.vote.Abstain}
}

// life is a script on one data folder. It ends at the first thing that is wrong.
type life struct {
	fs      *crashfs.FS
	see     func(fs *crashfs.FS) wal.FS
	view    wal.FS // what see made of fs
	store   *wal.Store
	w       witness
	term    wire.Term
	strikes []error // what injected faults say; nothing else may fail
	err     error
}

// newLife begins with an empty folder, and looks at it through what see makes of
// it.
func newLife(see func(fs *crashfs.FS) wal.FS) *life {
	f := &life{see: see, w: witness{votes: []wire.Vote{{}}, names: []string{""}}}
	f.become(crashfs.New())
	return f
}

func (f *life) become(fs *crashfs.FS) {
	f.fs = fs
	f.view = f.see(fs)
}

// do takes one step. A step that fails by an injected fault is taken again, by
// the same store or, if it is fenced, after a restart.
func (f *life) do(what string, step func() error) {
	for try := 0; f.err == nil; try++ {
		err := step()
		if err == nil {
			return
		}
		switch {
		case !f.expected(err) || try == 3:
			f.err = fmt.Errorf("%s: %w", what, err)
		case errors.Is(err, wal.ErrFenced) && wal.Passes(err):
			f.err = fmt.Errorf("%s: the store is fenced, and is said to wait: %w", what, err)
		case f.store == nil: // it is opened again
		case errors.Is(err, wal.ErrFenced):
			f.fenced(what)
		case f.store.Err() != nil:
			f.err = fmt.Errorf("%s: the store is fenced, and the error does not say so: %w", what, err)
		}
	}
}

// expected reports whether an error comes of an injected fault.
func (f *life) expected(err error) bool {
	return slices.ContainsFunc(f.strikes, func(strike error) bool { return errors.Is(err, strike) })
}

// fenced checks that a fenced store does nothing more, and starts again.
func (f *life) fenced(what string) {
	next := entry(f.store.Log().Last()+1, f.term+1, 8)
	for _, err := range []error{f.store.Append(runs(next)), f.store.Sync(), f.store.Seal(), f.store.SaveVote(wire.Vote{Term: 99})} {
		if !errors.Is(err, wal.ErrFenced) {
			f.err = fmt.Errorf("%s: after the fence: %w", what, err)
			return
		}
	}
	if err := f.store.Close(); err != nil && !f.expected(err) {
		f.err = fmt.Errorf("%s: close after the fence: %w", what, err)
		return
	}
	f.open()
}

// open starts on what is there. What is found then counts as acknowledged.
func (f *life) open() {
	f.store = nil
	f.do("open", func() error {
		found, err := f.w.open(f.view)
		if err != nil {
			return err
		}
		f.store, f.w = found.store, found.knows()
		f.w.sealed = len(f.strikes) == 0 // a full disk may have had no room for it
		f.term++
		return nil
	})
}

// append writes n entries in place of the last so many.
func (f *life) append(back, n, size int) {
	if back > 0 {
		f.term++
	}
	f.do("append", func() error { return f.tryAppend(back, n, size) })
}

func (f *life) tryAppend(back, n, size int) error {
	last := int(f.store.Log().Last())
	first := wire.Index(last + 1 - min(back, last))
	b := entries(first, first+wire.Index(n)-1, f.term, size)
	f.w.tried = append(f.w.tried[:len(f.w.tried):len(f.w.tried)], b...)
	f.w.sealed = false
	f.w.version++
	err := f.store.Append(runs(b))
	if err == nil || errors.Is(err, wal.ErrFenced) {
		return err
	}
	got, readErr := readAll(f.store.Log(), 1<<20)
	if readErr != nil {
		got, readErr = readAll(f.store.Log(), 1<<20) // it may be what strikes
	}
	if readErr != nil {
		return readErr
	}
	var has model
	has.append(got)
	if wrong := f.w.refused(b, has); wrong != nil {
		return wrong
	}
	return err
}

// crowded has the disk run full after so many bytes of a group. Another batch of
// the same shape takes its place.
func (f *life) crowded(n, size, short int) {
	if f.err != nil {
		return
	}
	f.fs.Inject(crashfs.Rule{Op: crashfs.OpWrite, Name: ".seg", Short: short, Err: wal.ErrNoSpace})
	f.do("a full disk", func() error {
		if err := f.tryAppend(0, n, size); !wal.Passes(err) {
			return err
		}
		return nil
	})
	f.fs.ClearRules()
	f.term++
	f.append(0, n, size)
}

func (f *life) sync() {
	f.do("sync", func() error {
		err := f.store.Sync()
		if err == nil {
			f.w.synced()
		}
		return err
	})
}

func (f *life) put(back, n, size int) { f.append(back, n, size); f.sync() }

func (f *life) vote(id wire.NodeID) {
	f.do("vote", func() error {
		v := wire.Vote{Term: f.w.votes[len(f.w.votes)-1].Term + 1, For: id}
		f.w.votes = append(f.w.votes[:len(f.w.votes):len(f.w.votes)], v)
		f.w.version++
		err := f.store.SaveVote(v)
		if err == nil {
			f.w.votes, f.w.mayAbstain = []wire.Vote{v}, false
			f.w.version++
		}
		return err
	})
}

func (f *life) identity(name string) {
	f.do("identity", func() error {
		f.w.names = append(f.w.names[:len(f.w.names):len(f.w.names)], name)
		f.w.version++
		err := wal.SaveIdentity(f.view, wal.Identity{Replica: owner, Name: name})
		if err == nil {
			f.w.names = []string{name}
			f.w.version++
		}
		return err
	})
}

func (f *life) seal() {
	f.do("seal", func() error {
		err := f.store.Seal()
		if err == nil {
			f.w.synced()
			f.w.sealed = true
		}
		return err
	})
}

func (f *life) prepare() {
	f.do("prepare", func() error {
		n, ok := f.store.Log().NeedsSegment()
		if !ok {
			return nil
		}
		if err := wal.PrepareSegment(f.view, small, n); err != nil {
			return err
		}
		f.store.Log().SegmentReady(n)
		return f.store.Err()
	})
}

// stop ends as it should, and starts again: everything written is there.
func (f *life) stop() {
	if f.err != nil {
		return
	}
	switch err := f.store.Close(); {
	case err == nil:
		f.w.synced()
		f.w.sealed = len(f.strikes) == 0
	case !f.expected(err):
		f.err = fmt.Errorf("close: %w", err)
	}
	f.open()
}

// kill starts again on the page cache, with another process.
func (f *life) kill() {
	all := f.w.now()
	f.open()
	if f.err == nil && len(f.strikes) == 0 && !slices.EqualFunc(f.w.acked, all, bytes.Equal) {
		f.err = fmt.Errorf("killed with %d entries written, found %d", len(all), len(f.w.acked))
	}
}

// failing has a rule strike, which must fence, and another that hides the fence
// from the next start, if it is not empty. Then the step is taken again.
func (f *life) failing(rule, hide crashfs.Rule, step func() error) {
	if f.err != nil {
		return
	}
	rule.Err, hide.Err = errDisk, errDisk
	f.fs.Inject(rule)
	if hide.Name != "" {
		f.fs.Inject(hide)
	}
	f.strikes = append(f.strikes, errDisk)
	fences := 0
	f.do("failing", func() error {
		err := step()
		if f.fs.ClearRules(); err != nil {
			fences++
		}
		return err
	})
	f.strikes = f.strikes[:len(f.strikes)-1]
	if f.err == nil && fences == 0 {
		f.err = errors.New("a failed sync goes unseen")
	}
}

// powerCut goes on with what the power cut of one seed leaves.
func (f *life) powerCut(seed uint64) {
	if f.err == nil {
		f.become(f.fs.Crash(seed))
		f.open()
	}
}

// script is one life, in all that a folder can go through.
func (f *life) script() {
	f.identity("n1")
	f.open()
	f.vote(1)
	f.put(0, 1, 8)
	f.put(0, 8, 100)
	f.seal()
	f.prepare()
	f.put(0, 3, 900) // ends in segment 2
	f.vote(0)
	f.put(5, 7, 50) // supersedes across segments
	f.append(0, 2, 300)
	f.append(1, 3, 300) // several groups under one sync
	f.put(4, 1, 80)
	f.prepare()
	f.prepare()
	f.seal()
	f.stop()
	f.put(1, 9, 700) // several segments in one batch
	f.identity("renamed")
	f.append(0, 2, 10)
	f.kill()
	f.put(0, 1, 3000)
	f.vote(2)
	f.put(14, 9, 600) // supersedes three segments
	f.trouble()
	f.powerCut(5)
	f.put(2, 2, 1500)
	f.vote(3)
	f.stop()
}

// trouble is the part with failing syncs and full disks.
func (f *life) trouble() {
	seg := crashfs.Rule{Op: crashfs.OpSync, Name: ".seg"}
	unmarked := crashfs.Rule{Op: crashfs.OpCreate, Name: "fence"}
	group := func() error {
		f.w.tried = slices.Clip(f.w.tried)
		if err := f.tryAppend(0, 2, 200); err != nil {
			return err
		}
		err := f.store.Sync()
		if err == nil {
			f.w.synced()
		}
		return err
	}
	f.put(0, 1, 3000)
	f.put(0, 1, 500) // in a segment with room for the next groups
	f.failing(seg, crashfs.Rule{}, group)
	f.failing(seg, unmarked, group)
	f.failing(seg, unmarked, func() error { return f.tryAppend(0, 5, 900) }) // the segment that is sealed
	f.sync()
	f.crowded(3, 484, 1000)
	f.append(0, 1, 364)
	f.crowded(1, 364, 512)
	f.put(0, 1, 8)
}

// shapes is a life in which batches that take another's place share its sectors'
// boundaries: whole sectors of either are left.
func (f *life) shapes() {
	f.open()
	f.append(0, 1, 316) // the next group's entries begin with a sector
	f.crowded(3, 484, 1650)
	f.sync()
	f.kill()
	f.stop()
}

// chains is a life in which a group takes the place of another, both in a sector
// of their own, and one follows.
func (f *life) chains() {
	f.open()
	f.crowded(1, 364, 512)
	f.append(0, 1, 8)
	f.sync()
	f.stop()
}
