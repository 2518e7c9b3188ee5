package raft

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/dnode-engine/dnode/wire"
)

// FuzzStep feeds a core with arbitrary messages between ordinary events, syncs
// and crashes. It must not panic, must leave everything as it was when it calls
// a message nonsense, must keep its invariants, and must say nothing that its
// disk does not hold.
func FuzzStep(f *testing.F) {
	msg := func(m wire.PeerMessage) []byte { return wire.AppendPeerFrame(nil, &m) }
	f.Add([]byte{1, 2, 3, 4})
	f.Add(bytes.Repeat([]byte{3, 0, 5 + 8, 0, 0, 9, 0, 0, 0, 1, 2, 0, 1}, 8))
	f.Add(bytes.Repeat([]byte{5, 2, 0, 0, 0, 9, 0, 0, 1, 1, 2, 0, 3}, 8))
	f.Add(msg(wire.PeerMessage{Type: wire.FrameAppend, From: 2, Term: 1, Entries: entry(1, 1)}))
	f.Add(msg(wire.PeerMessage{Type: wire.FrameVote, From: 3, Term: 7, Index: 9, LogTerm: 6}))
	f.Add(slices.Repeat(append(msg(wire.PeerMessage{Type: wire.FrameVote, From: 3, Term: 7, Index: 9, LogTerm: 6}), 0, 0, 0, 0, 0, 0, 0), 4))
	f.Add(msg(wire.PeerMessage{Type: wire.FrameAppendReply, From: 2, Term: 1, Index: 1, Reject: true, Hint: 1 << 63}))
	f.Fuzz(func(t *testing.T, data []byte) {
		net := newNetwork(3, 0, nil)
		n := net.node(1)
		if len(data) > 0 && data[0]&1 == 0 {
			net.elect(1)
			_, _ = net.propose(1, "x")
		} else {
			n = net.preload(1, 3, 1, 1, 2)
		}
		said := words{net: net, n: n, votes: map[wire.Term]wire.NodeID{n.vote.Term: n.vote.For}}
		for len(data) > 2 {
			var m wire.PeerMessage
			m, data = arbitrary(n, data)
			before := n.core.Status()
			if err := n.core.Step(&m); err != nil && (n.core.Status() != before || !errors.Is(err, ErrNonsense)) {
				t.Fatalf("%v, and %+v became %+v", err, before, n.core.Status())
			}
			after := n.core.Status()
			if after.Commit < before.Commit || after.Term < before.Term || after.Commit > after.Last || after.Durable > after.Last {
				t.Fatalf("%+v became %+v", before, after)
			}
			n.core.Tick()
			switch len(data) % 8 {
			case 0, 3, 6:
				said.check(t)
				net.sync(n, 1)
			case 1:
				said.check(t)
			case 7:
				n.crash()
				if err := n.start(false); err != nil {
					t.Fatal(err)
				}
				n.core.SetNow(net.now)
				n.core.restarted = false // or it would say little for the rest
			}
		}
	})
}

// words is what one node says to the others, held against what is on its disk.
type words struct {
	net   *network
	n     *node
	votes map[wire.Term]wire.NodeID // given so far, zero: to nobody
}

func (w *words) check(t *testing.T) {
	w.net.msgs = nil
	w.net.ready(w.n)
	for _, m := range w.net.msgs {
		switch {
		case m.From != 1 || m.To == 1:
			t.Fatalf("%s", describe(&m))
		case m.Type == wire.FrameVoteReply && !m.Reject:
			// A vote of an older term that leaves with a newer one is as good as on
			// the disk: nobody gets another in that term.
			disk := w.n.vote
			if to, ok := w.votes[m.Term]; ok && to != m.To && to != 0 || disk.Term < m.Term || disk.Term == m.Term && disk.For != m.To {
				t.Fatalf("%s: voted for %d before, %+v is on the disk", describe(&m), to, w.n.vote)
			}
			w.votes[m.Term] = m.To
		case m.Type == wire.FrameVote || m.Type == wire.FrameAppend || m.Type == wire.FrameAppendReply:
			if m.Term > w.n.vote.Term {
				t.Fatalf("%s: %+v is on the disk", describe(&m), w.n.vote)
			}
			if m.Type == wire.FrameAppendReply && !m.Reject && int(m.Index) > len(w.n.log) {
				t.Fatalf("%s: %d entries are on the disk", describe(&m), len(w.n.log))
			}
		}
	}
}

// arbitrary builds a message from bytes: a frame if they hold one, otherwise
// one about what the core is and has, or near it, so that it often fits.
func arbitrary(n *node, data []byte) (wire.PeerMessage, []byte) {
	if f, err := wire.ParseFrame(data, wire.MaxAppendBytes); err == nil {
		if m, err := wire.ParsePeer(f); err == nil {
			return m, data[f.Size:]
		}
	}
	var b [12]byte
	data = data[copy(b[:], data):]
	st := n.core.Status()
	m := wire.PeerMessage{
		Type: wire.FrameType(b[0]%8) + wire.FramePreVote, From: 2 + wire.NodeID(b[1]%2), Term: st.Term,
		Index: st.Last, Commit: wire.Index(b[5] % 8), Reject: b[6]&1 == 1, Hint: wire.Index(b[7] % 8), Round: uint64(b[8] % 4),
	}
	if b[1] > 240 {
		m.From, m.Type = wire.NodeID(b[2]%5), m.Type+wire.FrameType(b[3]%4)
	}
	switch b[2] % 8 {
	case 5, 6:
		m.Term += wire.Term(b[2] / 8 % 3)
	case 7:
		m.Term = wire.Term(b[2] / 8)
	}
	switch b[3] % 8 {
	case 4, 5:
		m.Index = wire.Index(b[3] / 8 % 8)
	case 6:
		m.Index += wire.Index(b[3] / 8)
	}
	m.LogTerm, _ = n.core.log.term(m.Index)
	if b[4] > 200 {
		m.LogTerm = wire.Term(b[4] % 8)
	}
	if b[9] == 255 {
		m.Index = wire.Index(binary.LittleEndian.Uint64(b[1:]))
	}
	if b[9]%8 == 1 { // long after word from a leader
		n.core.sinceLeader, n.core.everHeard = n.cfg.ElectionTicks, false
	}
	for i := range b[10] % 4 {
		m.Entries = append(m.Entries, entry(m.Index+wire.Index(i)+1, max(m.LogTerm, m.Term-min(m.Term, wire.Term(b[11]%4)))+wire.Term(i/3*(b[11]/64)))...)
	}
	return m, data
}
