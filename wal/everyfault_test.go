package wal_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/crashfs"
)

// strike is one way in which an operation fails.
type strike struct {
	err   error
	share int // of a write that is carried out, in eighths
}

// strikes are the ways in which operations fail.
func strikes(op crashfs.Op) []strike {
	switch op {
	case crashfs.OpOpen, crashfs.OpList, crashfs.OpSyncDir:
		return []strike{{err: errDisk}, {err: wal.ErrNoFiles}}
	case crashfs.OpCreate:
		return []strike{{err: errDisk}, {err: wal.ErrNoFiles}, {err: wal.ErrNoSpace}}
	case crashfs.OpRead:
		return []strike{{err: errDisk}}
	case crashfs.OpWrite:
		return []strike{
			{err: errDisk},
			{err: errDisk, share: 5},
			{err: errDisk, share: 8},
			{err: wal.ErrNoSpace},
			{err: wal.ErrNoSpace, share: 5},
			{err: wal.ErrNoSpace, share: 8},
			{share: 5},
		}
	}
	return []strike{{err: errDisk}, {err: wal.ErrNoSpace}}
}

// faulty fails one operation of a life, and looks at what power cuts leave soon
// after.
type faulty struct {
	at   int // operation
	ops  int // so far
	how  int // of its strikes
	hit  string
	more int // ways in which it fails
	cuts cutter
	soon int // operations to look at after it
}

func (x *faulty) watch(f *life) {
	f.fs.SetTrace(func(e crashfs.Event) {
		x.ops++
		switch {
		case x.ops == x.at:
			all := strikes(e.Op)
			s := all[min(x.how, len(all)-1)]
			x.more = len(all)
			x.hit = fmt.Sprintf("%v %v, %d eighths of %d bytes", e, s.err, s.share, e.Len)
			f.fs.Inject(crashfs.Rule{Op: e.Op, Name: e.Name, Err: s.err, Short: e.Len * s.share / 8})
			if s.err != nil {
				f.strikes = append(f.strikes, s.err)
			}
		case x.ops > x.at && x.ops <= x.at+x.soon && x.cuts.err == nil:
			x.cuts.err = x.cuts.moment(f)
			x.cuts.moments++
		}
	})
}

// run plays a script with the fault, and in the end starts on the page cache and
// after a power cut.
func (x *faulty) run(script func(f *life)) error {
	var f *life
	f = newLife(func(fs *crashfs.FS) wal.FS {
		if f != nil {
			x.watch(f)
		}
		return fs
	})
	x.watch(f)
	script(f)
	if err := errors.Join(f.err, x.cuts.err); err != nil {
		return err
	}
	f.fs.SetTrace(nil)
	for _, img := range []*crashfs.FS{f.fs.Kill(), f.fs.Crash(0), f.fs.Crash(uint64(x.at))} {
		last, err := f.w.open(img)
		if err == nil && (!slices.EqualFunc(last.m, f.w.now(), bytes.Equal) || last.cut != nil) {
			err = fmt.Errorf("%d entries in the end, cut %v, want %d", len(last.m), last.cut, len(f.w.now()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Every operation of a life fails in turn, in every way: what is fenced says so
// and does nothing more, what waits goes on, and nothing acknowledged is lost.
func TestEveryOperationFails(t *testing.T) {
	step, soon := 61, 1
	if exhaustive() {
		step, soon = 1, 4
	}
	count, images := 0, 0
	for _, l := range lives {
		for at := 1; ; at += step {
			x := faulty{more: 1}
			for how := 0; how < x.more; how++ {
				x = faulty{at: at, how: how, soon: soon, cuts: cutter{most: 3, again: 50, inner: 2, kills: 50, moments: 1, of: 1, see: same}}
				if err := x.run(l.script); err != nil {
					t.Fatalf("%s: %s: %v", l.name, x.hit, err)
				}
				count++
				images += x.cuts.images
			}
			if x.hit == "" {
				break
			}
		}
	}
	t.Logf("%d faults, %d images", count, images)
}
