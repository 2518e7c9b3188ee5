package replica_test

import (
	"strings"
	"testing"

	"github.com/dnode-engine/dnode/node/kv"
	"github.com/dnode-engine/dnode/node/raft"
	"github.com/dnode-engine/dnode/node/replica"
	"github.com/dnode-engine/dnode/wire"
)

// batches drives one sole voter batch by batch, as the shell does: one Effects
// to each Begin.
type batches struct {
	t    *testing.T
	rep  *replica.Replica
	now  int64
	seq  uint64 // stored and not yet told
	more bool
	most int // bytes of replies in one batch
	got  map[uint64]*wire.Error
}

func newBatches(t *testing.T) *batches {
	boot := wire.Membership{NextID: 2, Members: []wire.Member{{ID: 1, Name: "n1", Role: wire.Voter}}}
	rep, err := replica.New(testConfig(1), kv.New(), raft.State{Fresh: true, First: 1, Members: boot})
	if err != nil {
		t.Fatal(err)
	}
	b := &batches{t: t, rep: rep, now: 1, got: map[uint64]*wire.Error{}}
	for !rep.Leading() {
		b.turn()
	}
	return b
}

// turn runs one batch of the requests given. The disk is done with what the
// batch before wrote.
func (b *batches) turn(frames ...wire.Frame) {
	b.now += millisecond
	b.rep.Begin(b.now)
	if b.seq != 0 {
		b.rep.Stored(replica.Completion{Seq: b.seq})
		b.seq = 0
	}
	for _, f := range frames {
		b.rep.Request(1, f)
	}
	b.take(b.rep.Effects())
}

func (b *batches) take(fx *replica.Effects) {
	size := 0
	for _, r := range fx.Replies {
		size += len(r.Bytes)
		f, err := wire.ParseFrame(r.Bytes, wire.MaxFrameBytes)
		if err != nil {
			b.t.Fatal(err)
		}
		b.got[f.ID] = nil
		if f.Type == wire.FrameError {
			b.got[f.ID], err = wire.ParseError(f.Body)
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
	b.most = max(b.most, size)
	b.seq, b.more = max(b.seq, fx.Store.Seq), fx.More
}

const mib = 1 << 20

// The replies of one batch are bounded, whatever is asked: a compare-and-set of
// a few bytes is answered with the whole value that it did not expect.
func TestRepliesOfOneBatchAreBounded(t *testing.T) {
	b := newBatches(t)
	b.turn(writeFrame(1, put("k", strings.Repeat("v", wire.MaxCommandBytes-100))))
	for range 3 {
		b.turn()
	}
	if e, ok := b.got[1]; !ok || e != nil {
		t.Fatalf("put: %v %v", ok, e)
	}
	var frames []wire.Frame
	for id := uint64(10); id < 110; id++ {
		frames = append(frames, writeFrame(id, wire.AppendCAS(nil, wire.Command{Mode: wire.CASAbsent, Key: []byte("k")})))
	}
	b.turn(frames...)
	turns := 0
	for b.turn(); b.more; b.turn() {
		turns++
	}
	for id := uint64(10); id < 110; id++ {
		if e, ok := b.got[id]; !ok || e != nil {
			t.Fatalf("compare-and-set %d: answered %v, %v", id, ok, e)
		}
	}
	if b.most > 2*mib+1000 || turns < 10 {
		t.Errorf("%d bytes of replies in one batch, %d batches", b.most, turns)
	}
	frames, b.most = nil, 0
	for id := uint64(200); id < 220; id++ {
		frames = append(frames, getFrame(id, wire.Linearizable, "k"))
	}
	for b.turn(frames...); b.more; b.turn() {
	}
	if _, last := b.got[219]; b.most > 2*mib+1000 || !last {
		t.Errorf("%d bytes of reads in one batch, the last answered %v", b.most, last)
	}
}

// Whoever feeds requests is told when a batch has enough replies.
func TestFullBatch(t *testing.T) {
	b := newBatches(t)
	status := frame(wire.FrameStatus, 1, nil)
	b.rep.Begin(b.now)
	n := 0
	for ; !b.rep.Full(); n++ {
		b.rep.Request(1, status)
		if n > 1_000_000 {
			t.Fatal("never full")
		}
	}
	b.take(b.rep.Effects())
	if b.most < mib || b.most > mib+1000 {
		t.Errorf("full with %d bytes after %d requests", b.most, n)
	}
	b.rep.Begin(b.now)
	if b.rep.Full() {
		t.Error("full from the start")
	}
}

// A state machine that is slower than disk and network makes writers wait, not
// memory grow: what was taken and not applied is bounded.
func TestUnappliedWritesAreBounded(t *testing.T) {
	b := newBatches(t)
	value, busy := strings.Repeat("v", wire.MaxCommandBytes-100), 0
	id := uint64(0)
	for range 100 {
		var frames []wire.Frame
		for range 3 {
			id++
			frames = append(frames, writeFrame(id, put("k", value)))
		}
		before := b.rep.Raft().Status()
		b.turn(frames...)
		st := b.rep.Raft().Status()
		if n := st.Applied - before.Applied; n > 2 {
			t.Fatalf("%d entries of 1 MiB applied in one batch", n)
		}
		refused := 0
		for _, f := range frames {
			e, ok := b.got[f.ID]
			if !ok {
				continue
			}
			if e == nil || e.Code != wire.CodeBusy || e.RetryAfterMs == 0 {
				t.Fatalf("write %d: %v", f.ID, e)
			}
			refused++
		}
		if st.Last != before.Last+wire.Index(3-refused) {
			t.Fatalf("last %d after %d, with %d of 3 refused", st.Last, before.Last, refused)
		}
		busy += refused
		if unapplied := int(st.Last-st.Applied) * mib; unapplied > testConfig(1).Raft.MaxUncommittedBytes+2*mib {
			t.Fatalf("%d bytes are not applied after %d writes", unapplied, id)
		}
	}
	for range 20 {
		b.turn()
	}
	if w := b.rep.Pending().Writes; w != 0 || busy == 0 || len(b.got) != int(id) {
		t.Errorf("%d writes wait, %d refused, %d of %d answered", w, busy, len(b.got), id)
	}
	b.turn(writeFrame(1000, put("k", value))) // nothing is counted as owed for ever
	if e, refused := b.got[1000]; refused {
		t.Errorf("refused when idle: %v", e)
	}
}

// Writes whose outcome stays unknown are owed no longer.
func TestAbandonedWritesMakeRoom(t *testing.T) {
	c := newCluster(t, 3)
	c.elect(1)
	c.cut[1] = true
	value := strings.Repeat("v", wire.MaxCommandBytes-100)
	for id := uint64(1); id <= 5; id++ {
		c.request(1, writeFrame(id, put("k", value)))
	}
	c.at(1).refused(5, wire.CodeBusy)
	for range 60 {
		c.now += 10 * millisecond
		c.tick(c.at(1))
		c.finish(c.at(1))
	}
	c.at(1).refused(1, wire.CodeUnknown)
	c.cut[1] = false
	c.elect(1)
	c.settle()
	c.request(1, writeFrame(6, put("k", value)))
	c.settle()
	c.at(1).result(6)
}

// Reads that wait for a quorum are bounded in number and in bytes: those beyond
// are told when to come back, those taken are answered.
func TestWaitingReadsAreBounded(t *testing.T) {
	f := func(what string, most uint64, query []byte, check func(m *member, id uint64)) {
		t.Helper()
		c := newCluster(t, 3)
		c.elect(1)
		c.pass(3)
		lead := c.at(1)
		read := frame(wire.FrameRead, 1, wire.AppendRead(nil, wire.Linearizable, query))
		for wave := range uint64(2) { // the second finds the room that the first has left
			first := wave*(most+2) + 1
			c.cut[1] = true
			c.event(lead, func() {
				for id := first; id < first+most+2; id++ {
					read.ID = id
					lead.rep.Request(1, read)
				}
			})
			for id := first + most; id < first+most+2; id++ {
				if e := lead.refused(id, wire.CodeBusy); e.RetryAfterMs == 0 {
					t.Errorf("%s: %v", what, e)
				}
			}
			lead.unanswered(first + most - 1)
			c.cut[1] = false
			c.pass(3)
			for _, id := range []uint64{first, first + most - 1} {
				check(lead, id)
			}
			if reads := lead.rep.Pending().Reads; reads != 0 || len(lead.replies) != int(first+most+1) {
				t.Errorf("%s: %d reads wait, %d answered", what, reads, len(lead.replies))
			}
		}
	}
	f("number", 1<<16, wire.AppendGet(nil, []byte("k")), func(m *member, id uint64) { m.t.Helper(); m.value(id) })
	f("bytes", 16, make([]byte, 1<<20), func(m *member, id uint64) { m.t.Helper(); m.refused(id, wire.CodeBadRequest) })
}

// A member speaks for itself only, and what it moves is followed even where it
// talks nonsense.
func TestNonsenseOfAMember(t *testing.T) {
	c := newCluster(t, 3)
	c.elect(1)
	c.pass(3)
	lead := c.at(1)
	message := func(from wire.NodeID, term wire.Term) wire.Frame {
		f, err := wire.ParseFrame(wire.AppendPeerFrame(nil, &wire.PeerMessage{Type: wire.FrameAppendReply, From: from, Term: term}), wire.MaxAppendBytes)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	before := lead.rep.Raft().Status()
	c.event(lead, func() {
		if err := lead.rep.Peer(2, message(3, before.Term+1)); err == nil || lead.rep.Raft().Status() != before {
			t.Errorf("a message for another: %v", err)
		}
	})
	c.event(lead, func() {
		if err := lead.rep.Peer(2, message(2, 1<<40)); err == nil || lead.rep.Leading() {
			t.Errorf("an absurd term: %v, leading %v", err, lead.rep.Leading())
		}
	})
}

// A write is not answered with the result of another leader's command that was
// committed in its place: that it was not carried out is known, and said.
func TestAnothersCommandInThePlaceOfAWrite(t *testing.T) {
	c := newCluster(t, 3)
	c.elect(1)
	c.pass(3)
	c.cut[1] = true
	c.request(1, writeFrame(1, put("k", "lost")))
	c.request(1, writeFrame(2, put("k", "lost")))
	c.finish(c.at(1))
	c.elect(2)
	c.request(2, writeFrame(3, put("k", "kept"))) // behind the new leader's first entry
	c.settle()
	theirs, _ := c.at(2).result(3)
	if mine := c.at(1).rep.Raft().Status().Last; mine != theirs {
		t.Fatalf("the write is entry %d, the other's command %d", mine, theirs)
	}
	c.cut[1] = false
	c.pass(5)
	c.at(1).refused(1, wire.CodeNotLeader)
	c.at(1).refused(2, wire.CodeNotLeader)
}
