package sim

import (
	"fmt"
	"math/rand/v2"

	"github.com/dnode-engine/dnode/node/raft"
	"github.com/dnode-engine/dnode/wire"
)

// oddity is a request in valid framing that is not about data, or that no node can
// accept.
type oddity uint8

const (
	ordinary    oddity = iota
	askStatus          // which every node answers, whatever its state
	unknownType        // a frame type of later times
	cutWrite           // a write that ends within its stamp
	withSession        // a feature of later times
	noCommand          // a write of nothing
	newCommand         // an operation of later times
	longKey            // a key beyond the limit
	newLevel           // a consistency level of later times
	noQuery            // a read of nothing
	newQuery           // a query of later times
	oddities
)

// odd makes up an odd request.
func (l *load) odd(op *Op) {
	op.Odd = 1 + oddity(l.rand.IntN(int(oddities)-1))
	op.Read = true // in doubt it may be sent again
	if l.rand.IntN(2) == 0 {
		op.Level = wire.Stale
	}
}

// oddFrame encodes an odd request, which is valid until the next one.
func (l *load) oddFrame(op *Op, id uint64) []byte {
	kind, body := wire.FrameWrite, l.body[:0]
	level := max(op.Level, wire.Linearizable)
	switch op.Odd {
	case askStatus:
		kind = wire.FrameStatus
	case unknownType:
		kind = 40
	case cutWrite:
		body = append(body, 0)
	case withSession:
		body = wire.AppendWrite(body, wire.Stamp{Session: 7, Seq: 1}, wire.AppendDelete(nil, []byte("k")))
	case noCommand:
		body = wire.AppendWrite(body, wire.Stamp{}, nil)
	case newCommand:
		body = wire.AppendWrite(body, wire.Stamp{}, []byte{200, 1, 0, 'k'})
	case longKey:
		body = wire.AppendWrite(body, wire.Stamp{}, wire.AppendDelete(nil, make([]byte, wire.MaxKeyBytes+1)))
	case newLevel:
		kind, body = wire.FrameRead, wire.AppendRead(body, 99, wire.AppendGet(nil, []byte("k")))
	case noQuery:
		kind, body = wire.FrameRead, wire.AppendRead(body, level, nil)
	case newQuery:
		kind, body = wire.FrameRead, wire.AppendRead(body, level, []byte{200, 1, 0, 'k'})
	}
	l.body = body
	l.out = wire.AppendFrame(l.out[:0], kind, id, body)
	return l.out
}

// oddAnswered checks what a node says to an odd request, other than an error. What
// a status says of the log is true, but that a fenced node may have learned of a
// commit in the batch that fenced it, which leaves the node in no other way.
func (l *load) oddAnswered(cl *simClient, slot int, f wire.Frame) {
	fl := &cl.flights[slot]
	op := &l.history[fl.op]
	if op.Odd != askStatus || f.Type != wire.FrameStatusReply {
		l.c.fail(fmt.Errorf("node %d answers an odd request (%d) with a %v", fl.node+1, op.Odd, f.Type))
		return
	}
	st, err := wire.ParseStatus(f.Body)
	k := l.c.check
	switch {
	case err != nil:
		l.c.fail(fmt.Errorf("node %d answers with a bad status: %w", fl.node+1, err))
	case st.ID != wire.NodeID(fl.node+1) || st.Applied > st.Commit || int(st.Commit) > len(k.committed) && st.State != wire.StateFenced || len(st.Members) != l.c.opt.Nodes:
		l.c.fail(fmt.Errorf("status: node %d says %+v, and %d is committed", fl.node+1, st, len(k.committed)))
	case int(st.Applied) < len(k.hashes) && k.hashes[st.Applied].known && k.hashes[st.Applied].hash != st.Hash:
		l.c.fail(fmt.Errorf("status: node %d says %+v, others had the hash %016x", fl.node+1, st, k.hashes[st.Applied].hash))
	}
	op.Return = l.c.now
	l.finish(cl, slot)
}

// nonsense gives a node a message that no correct member sends, and checks that it
// is refused, or ignored, and leaves nothing behind. The link it came by stays.
func (n *node) nonsense(seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0))
	st := n.rep.Raft().Status()
	from := wire.NodeID(1 + (n.index+1+r.IntN(max(1, len(n.c.nodes)-1)))%len(n.c.nodes))
	if st.Leader != 0 && st.Leader != n.id && r.IntN(2) == 0 {
		from = st.Leader
	}
	if from == n.id || st.Term == 0 {
		return
	}
	m, silent := nonsensical(&st, from, r)
	frame := wire.AppendPeerFrame(nil, &m)
	if r.IntN(16) == 0 {
		frame = wire.AppendFrame(nil, wire.FrameAppend, 0, frame[:20])
		silent = false
	}
	f, err := wire.ParseFrame(frame, wire.MaxAppendBytes)
	if err != nil {
		n.c.fail(err)
		return
	}
	n.event()
	err = n.rep.Peer(from, f)
	if now := n.rep.Raft().Status(); now != st || (err == nil) != silent && n.rep.Fenced() == nil {
		n.c.fail(fmt.Errorf("nonsense: node %d takes %+v with %v, and goes from %+v to %+v", n.id, m, err, st, now))
	}
	n.end()
}

// nonsensical makes up such a message, and says whether it is to be ignored without
// a word.
func nonsensical(st *raft.Status, from wire.NodeID, r *rand.Rand) (m wire.PeerMessage, silent bool) {
	m = wire.PeerMessage{From: from, Term: st.Term, Index: st.Last, LogTerm: st.Term}
	kinds := []wire.FrameType{wire.FrameAppend, wire.FrameRound, wire.FrameAppendReply, wire.FrameRoundReply, wire.FrameSnapshot, wire.FrameTimeoutNow}
	m.Type = kinds[r.IntN(len(kinds))]
	switch r.IntN(8) {
	case 0:
		m.From += 100 // not whose link it is
		return m, false
	case 1:
		m.Term = 0
		return m, false
	case 2:
		m.Index = 1 << 63
		return m, false
	}
	leads := st.Role == raft.Leader
	switch m.Type {
	case wire.FrameRound: // of a second leader
		if leads || st.Leader != 0 && st.Leader != from {
			return m, false
		}
		m.Term = 0
		return m, false
	case wire.FrameAppend:
		spoilt(&m, st, r)
		return m, false
	case wire.FrameAppendReply:
		m.Index = st.Last + 1 + wire.Index(r.IntN(1000))
		return m, !leads
	case wire.FrameRoundReply:
		m.Round = 1 << 40
		return m, !leads
	}
	return m, false // of later times: such frames end at the decoder
}

// spoilt makes an Append that no leader sends.
func spoilt(m *wire.PeerMessage, st *raft.Status, r *rand.Rand) {
	noop := func(i wire.Index, term wire.Term) []byte {
		return wire.AppendEntry(nil, wire.EntryHead{Type: wire.EntryNoop, Index: i, Term: term}, make([]byte, 8), nil)
	}
	m.LogTerm = 1
	if m.Index == 0 {
		m.Index = 1
	}
	switch r.IntN(5) {
	case 0:
		m.LogTerm = m.Term + 1
	case 1:
		m.Entries = []byte{1, 2, 3}
	case 2:
		m.Entries = noop(m.Index+2, m.Term)
	case 3:
		m.Entries = noop(m.Index+1, m.Term+1)
	default:
		m.Entries = wire.AppendEntry(nil, wire.EntryHead{Type: wire.EntryConfig, Index: m.Index + 1, Term: m.Term}, make([]byte, 8), []byte{1})
		m.LogTerm = m.Term
	}
}
