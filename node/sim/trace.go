package sim

import (
	"fmt"

	"github.com/dnode-engine/dnode/node/raft"
	"github.com/dnode-engine/dnode/node/replica"
	"github.com/dnode-engine/dnode/wire"
)

// trace folds all that a run does into one number, and tells it line by line if
// somebody listens. What nemesis events decide is not part of it, only the faults
// that come of it: so a replayed list gives the same number.
type trace struct {
	hash   uint64
	faults uint64 // by itself: a fault that strikes amid an event is replayed before it
	tell   func(line string)
}

// fold mixes one number in (the multiplication is FNV's; the rotation carries
// high bits down).
func (t *trace) fold(x uint64) {
	h := (t.hash ^ x) * 0x9e3779b97f4a7c15
	t.hash = h<<29 | h>>35
}

// foldFault mixes one fault in.
func (t *trace) foldFault(x uint64) {
	f := trace{hash: t.faults}
	f.fold(x)
	t.faults = f.hash
}

func (t *trace) bytes(b []byte) {
	t.fold(uint64(len(b))<<32 | uint64(wire.Checksum(b)))
}

// traceEvent folds an event in before it is handled.
func (c *Cluster) traceEvent(e *event) {
	t := &c.trace
	t.fold(uint64(c.now))
	t.fold(uint64(e.kind) | uint64(e.node)<<8 | uint64(e.client)<<24 | uint64(e.from)<<40)
	t.fold(e.op ^ uint64(e.read)<<48) // what the bytes are is folded in where they come from
	if t.tell == nil {
		return
	}
	switch e.kind {
	case evPeer:
		c.say(e.node, "from n%d: %s", e.from+1, messages(e.data))
	case evTimeout:
		if f := &c.load.clients[e.client].flights[e.read]; f.phase != idle && f.id == e.op {
			c.say(-1, "client %d gives up on %d", e.client, e.op)
		}
	case evEnd:
		c.say(e.node, "connection %d of %d ends", e.op, e.client)
	case evLink:
		c.say(e.node, "link to n%d: up %v", e.from+1, e.up)
	case evStored:
		c.say(e.node, "disk has written")
	case evRead:
		c.say(e.node, "disk has read")
	}
}

// traceEffects folds the effects of a node's batch in.
func (c *Cluster) traceEffects(n *node, fx *replica.Effects) {
	t := &c.trace
	st := n.rep.Raft().Status()
	t.fold(uint64(n.index) | uint64(st.Role)<<8 | uint64(st.Term)<<16)
	t.fold(uint64(st.Commit)<<32 | uint64(n.rep.Applied()))
	if s := &fx.Store; s.Seq != 0 {
		t.fold(s.Seq<<32 | uint64(s.Last))
		t.fold(uint64(s.Vote.Term)<<8 | uint64(s.Vote.For))
		for _, b := range s.Append {
			t.bytes(b)
		}
	}
	for _, p := range fx.Peers {
		t.fold(uint64(p.To))
		t.bytes(p.Bytes)
	}
	for _, r := range fx.Replies {
		t.fold(uint64(r.Conn))
		t.bytes(r.Bytes)
	}
	if t.tell != nil {
		c.tellEffects(n, fx, &st)
	}
}

func (c *Cluster) tellEffects(n *node, fx *replica.Effects, st *raft.Status) {
	if st.Role != n.role || st.Term != n.term {
		c.say(n.index, "becomes %v of term %d, log ends at %d, commit %d", st.Role, st.Term, st.Last, st.Commit)
	} else if st.Commit != n.commit {
		c.say(n.index, "commits %d, applied %d", st.Commit, n.rep.Applied())
	}
	if s := &fx.Store; s.Seq != 0 {
		c.say(n.index, "stores batch %d: vote %v %+v, %d runs to entry %d", s.Seq, s.SaveVote, s.Vote, len(s.Append), s.Last)
	}
	for _, p := range fx.Peers {
		c.say(n.index, "to n%d: %s", p.To, messages(p.Bytes))
	}
}

// say tells one line, if somebody listens. Node -1 is none.
func (c *Cluster) say(node int, format string, args ...any) {
	if c.trace.tell == nil {
		return
	}
	who := "  "
	if node >= 0 {
		who = fmt.Sprintf("n%d", node+1)
	}
	c.trace.tell(fmt.Sprintf("%13.9f %s ", float64(c.now)/float64(second), who) + fmt.Sprintf(format, args...))
}

// messages describes frames in a line.
func messages(b []byte) string {
	s := ""
	for len(b) > 0 {
		f, err := wire.ParseFrame(b, wire.MaxAppendBytes)
		if err != nil {
			return s + fmt.Sprintf("%d bytes that are no frame: %v", len(b), err)
		}
		if b = b[f.Size:]; s != "" {
			s += "; "
		}
		if m, err := wire.ParsePeer(f); err == nil {
			s += message(&m)
		} else {
			s += fmt.Sprintf("%v %d, %d bytes", f.Type, f.ID, len(f.Body))
		}
	}
	return s
}

func message(m *wire.PeerMessage) string {
	s := fmt.Sprintf("%v term %d", m.Type, m.Term)
	switch m.Type {
	case wire.FrameVote, wire.FramePreVote:
		s += fmt.Sprintf(" log ends at %d of term %d", m.Index, m.LogTerm)
	case wire.FrameAppend:
		s += fmt.Sprintf(" after %d of term %d, commit %d, %s", m.Index, m.LogTerm, m.Commit, entries(m.Entries))
	case wire.FrameAppendReply:
		s += fmt.Sprintf(" at %d", m.Index)
	case wire.FrameRound:
		s += fmt.Sprintf(" round %d, commit %d", m.Round, m.Commit)
	case wire.FrameRoundReply:
		s += fmt.Sprintf(" round %d", m.Round)
	}
	if m.Reject {
		s += fmt.Sprintf(" rejected, hint %d of term %d", m.Hint, m.LogTerm)
	}
	return s
}

func entries(b []byte) string {
	if len(b) == 0 {
		return "no entries"
	}
	first, last := wire.Entry{}, wire.Entry{}
	for len(b) > 0 {
		e, err := wire.ParseEntry(b)
		if err != nil {
			return fmt.Sprintf("bad entries: %v", err)
		}
		if first.Index == 0 {
			first = e
		}
		last, b = e, b[e.Size:]
	}
	return fmt.Sprintf("entries %d to %d of terms %d to %d", first.Index, last.Index, first.Term, last.Term)
}
