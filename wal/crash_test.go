package wal_test

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/crashfs"
	"github.com/dnode-engine/dnode/wire"
)

// exhaustive reports whether everything is to be enumerated, which takes
// minutes: DNODETEST_EXHAUSTIVE is set.
func exhaustive() bool { return os.Getenv("DNODETEST_EXHAUSTIVE") != "" }

// cutter cuts the power before every operation of a life, and looks at what is
// left.
type cutter struct {
	most     int  // images of one moment
	again    int  // every so many of them go on, and are cut off again
	kills    int  // at every so many moments a kill is, too
	inner    int  // images of one moment of those
	asleep   bool // nothing is to be looked at yet
	part, of int  // which moments to look at: one in so many
	see      func(fs *crashfs.FS) wal.FS

	changed bool // since the last moment
	version int  // of the witness then

	moments, whole, images int // looked at; whole: moments of which every image was
	err                    error
}

// watch has the power cut before every operation on fs.
func (c *cutter) watch(f *life) {
	f.fs.SetTrace(func(e crashfs.Event) {
		if c.err == nil && !c.asleep && (c.changed || c.version != f.w.version) {
			if c.moments%c.of == c.part {
				if err := c.moment(f); err != nil {
					c.err = fmt.Errorf("power cut before operation %v: %w", e, err)
				}
			}
			c.moments++
		}
		c.changed, c.version = changes(e.Op), f.w.version
	})
}

// changes reports whether an operation may change what a power cut leaves.
func changes(op crashfs.Op) bool {
	return op != crashfs.OpOpen && op != crashfs.OpList && op != crashfs.OpRead
}

// moment looks at what a power cut, or a kill, leaves now.
func (c *cutter) moment(f *life) error {
	if f.fs.Outcomes() <= uint64(c.most) {
		c.whole++
	}
	n := 0
	for img := range f.fs.Images(c.most, uint64(c.moments)) {
		if err := c.survives(&f.w, img, (n+c.moments)%c.again == 0); err != nil {
			return fmt.Errorf("image %d: %w", n, err)
		}
		n++
	}
	if err := c.survives(&f.w, f.fs.Kill(), c.moments%c.kills == 0); err != nil {
		return fmt.Errorf("killed: %w", err)
	}
	return nil
}

// survives starts on an image of a moment. If it is to be deep the power is cut
// again: within the recovery, after it, and after having gone on.
func (c *cutter) survives(w *witness, img *crashfs.FS, deep bool) error {
	c.images++
	if deep {
		if err := c.cutRecovery(w, img.Kill()); err != nil {
			return err
		}
	}
	first, err := w.open(c.see(img))
	if err != nil || !deep {
		return err
	}
	knows := first.knows()
	for again := range img.Images(4, uint64(c.images)) {
		c.images++
		switch second, err := knows.open(c.see(again)); {
		case err != nil:
			return fmt.Errorf("power cut after recovery: %w", err)
		case second.cut != nil:
			return fmt.Errorf("power cut after recovery: %v", second.cut)
		}
	}
	return c.goOn(&first, img)
}

// cutRecovery cuts the power within a recovery.
func (c *cutter) cutRecovery(w *witness, fs *crashfs.FS) error {
	wrong := c.within(w, fs)
	_, err := w.open(c.see(fs))
	return errors.Join(*wrong, err)
}

// within has the power cut everywhere in what is done next on fs, and a few
// images looked at each time. It returns where the first thing wrong will be.
func (c *cutter) within(w *witness, fs *crashfs.FS) *error {
	wrong, changed := new(error), true
	fs.SetTrace(func(e crashfs.Event) {
		if *wrong == nil && changed {
			for img := range fs.Images(c.inner, uint64(c.images)) {
				c.images++
				if _, err := w.open(c.see(img)); err != nil {
					*wrong = fmt.Errorf("cut off again before operation %v: %w", e, err)
				}
			}
		}
		changed = changes(e.Op)
	})
	return wrong
}

// goOn votes, appends to a recovered log, and into the next segment.
func (c *cutter) goOn(first *found, img *crashfs.FS) error {
	f := &life{fs: img, view: c.see(img), store: first.store, w: first.knows(), term: 50}
	wrong := c.within(&f.w, img)
	f.vote(9)
	f.append(c.images%2, 4, 800)
	f.sync()
	f.append(0, 2, 100)
	f.seal()
	if err := errors.Join(*wrong, f.err); err != nil {
		return fmt.Errorf("going on: %w", err)
	}
	return nil
}

// lives are the scripts that are enumerated. Of the short ones all images of a
// moment can be looked at.
var lives = []struct {
	name   string
	script func(f *life)
	most   int // at least
}{{"script", (*life).script, 0}, {"shapes", (*life).shapes, 300}, {"chains", (*life).chains, 300}}

// run plays all lives with the power cut everywhere. Before the file system may
// stand another one.
func (c *cutter) run(see func(fs *crashfs.FS) wal.FS) error {
	c.see = see
	most := c.most
	for _, l := range lives {
		c.most = max(most, l.most)
		var f *life
		f = newLife(func(fs *crashfs.FS) wal.FS {
			if f != nil {
				c.watch(f)
			}
			return see(fs)
		})
		c.watch(f)
		l.script(f)
		if err := errors.Join(c.err, f.err); err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
	}
	return nil
}

func same(fs *crashfs.FS) wal.FS { return fs }

// Everything acknowledged is there after a power cut anywhere, and nothing
// that was never appended. Of each moment all images are looked at, or as many
// as there is time for.
func TestPowerCutAtEveryOperation(t *testing.T) {
	c := cutter{most: 12, again: 60, inner: 3, kills: 6, of: 1}
	if exhaustive() {
		c = cutter{most: 1024, again: 100, inner: 8, kills: 1, of: 2}
	}
	for part := range c.of {
		t.Run(fmt.Sprint("part ", part), func(t *testing.T) {
			t.Parallel()
			c := c
			c.part = part
			if err := c.run(same); err != nil {
				t.Fatal(err)
			}
			t.Logf("%d images of %d moments, of %d moments all", c.images, c.moments, c.whole)
		})
	}
}

// The same test on a disk that only claims to sync must fail, and not only
// because of a file that is missing: acknowledged entries must be gone.
func TestPowerCutTestSeesLyingDisk(t *testing.T) {
	c := cutter{most: 4, again: 1000, inner: 1, kills: 1000, of: 1}
	if err := c.run(func(fs *crashfs.FS) wal.FS { fs.Lie(true); return fs }); err == nil {
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
