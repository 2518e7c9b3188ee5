package node

import (
	"errors"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/node/replica"
	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/osfs"
	"github.com/dnode-engine/dnode/wire"
)

// The loop writes by itself what is sure to be short, and leaves all else to the
// goroutine.
func TestWhoWrites(t *testing.T) {
	cfg := testConfig(t, "n1")
	fs, err := osfs.Open(cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	opt := wal.Options{SegmentBytes: wire.MinSegmentBytes}
	store, _, _, err := wal.OpenStore(fs, opt)
	if err != nil {
		t.Fatal(err)
	}
	d := newDiskLoop(fs, opt, cfg.Logger, store)
	d.retryAt = time.Now().Add(time.Hour) // nothing is prepared beside it
	seq, last, large := uint64(0), wire.Index(0), 0
	f := func(what string, inline, wakes bool, change func()) {
		t.Helper()
		d.average.Store(maxInlineNanos)
		change()
		seq++
		var run []byte
		for range max(1, large) {
			last++
			run = wire.AppendEntry(run, wire.EntryHead{Type: wire.EntryCommand, Index: last, Term: 1}, nil, make([]byte, min(large, 1)<<20))
		}
		d.enqueue(&replica.Store{Seq: seq, Append: [][]byte{run}, Last: last}, nil)
		c := d.inline(true)
		if (c.Seq == seq) != inline || c.Err != nil {
			t.Errorf("%s: the loop writes up to %d of %d, %v", what, c.Seq, seq, c.Err)
		}
		if (len(d.wake) > 0) != wakes {
			t.Errorf("%s: the goroutine is woken: %v", what, !wakes)
		}
		if len(d.wake) > 0 {
			<-d.wake
			d.turn()
		}
	}
	d.space = func(bool) {}
	none := func() {}
	f("no segment is prepared", true, false, none)
	if err := wal.PrepareSegment(fs, opt, 2); err != nil {
		t.Fatal(err)
	}
	d.takeOver(preparation{number: 2})
	f("short syncs", true, false, none)
	f("half a segment", true, false, func() { large = wire.MinSegmentBytes >> 21 })
	f("more than the segment has room for", false, true, none)
	large = 0
	if err := wal.PrepareSegment(fs, opt, 3); err != nil {
		t.Fatal(err)
	}
	d.takeOver(preparation{number: 3})
	f("long syncs", false, true, func() { d.average.Store(maxInlineNanos + 1) })
	f("something is to be read, too", false, true, func() { d.next.reads = []replica.ReadRequest{{Peer: 2, Lo: 1, Hi: 2, MaxBytes: 1}} })
	f("the cluster is to be recorded, too", false, true, func() { d.next.identity = &wal.Identity{} })
	f("the goroutine is at work", false, true, func() { d.own <- struct{}{} })
	d.disown()
	f("a write waits for room", false, true, func() { d.stuck = wal.ErrNoSpace })
	f("again", true, false, none)
	if c := d.inline(true); c.Seq != 0 || len(d.wake) > 0 {
		t.Errorf("nothing is queued: %+v", c)
	}
	f("the node has stopped", false, false, func() { d.stopped = true })
	if err := errors.Join(store.Close(), fs.Close()); err != nil {
		t.Error(err)
	}
}

// The goroutine writes while a light connection asks beside bulk.
func TestLightReadsDoNotWaitForBulk(t *testing.T) {
	l := soleLeader(t)
	l.disk.wake = make(chan struct{}, 1)
	l.bulk, l.lightAt = bulk{requests: 1}, l.now
	l.store()
	if len(l.disk.wake) > 0 {
		t.Error("the goroutine is woken for nothing")
	}
	l.disk.next.stores = []replica.Store{{Seq: 1}}
	l.store()
	if len(l.disk.wake) == 0 {
		t.Error("bulk is left to the loop")
	}
}

// quickStore syncs in no time.
type quickStore struct{ replica.LogStore }

func (quickStore) Sync() error { return nil }

// One long sync sends the next ones to the goroutine, and short ones bring them
// back, though not the first.
func TestLongSyncIsForgotten(t *testing.T) {
	d := newDiskLoop(nil, wal.Options{}, nil, nil)
	s := timedStore{LogStore: quickStore{}, d: d}
	d.average.Store(int64(averagedSyncs) * maxInlineNanos * 2)
	syncs := 0
	for ; !d.quick(); syncs++ {
		if syncs > 1000 {
			t.Fatalf("average %d after %d syncs", d.average.Load(), syncs)
		}
		if err := s.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	if syncs < averagedSyncs {
		t.Errorf("forgotten after %d syncs", syncs)
	}
}
