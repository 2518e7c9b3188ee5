package raft

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/dnode-engine/dnode/wire"
)

// FuzzStep feeds a core with arbitrary messages between ordinary events. It
// must not panic, must leave everything as it was when it calls a message
// nonsense, and must keep its invariants.
func FuzzStep(f *testing.F) {
	msg := func(m wire.PeerMessage) []byte { return wire.AppendPeerFrame(nil, &m) }
	f.Add([]byte{1, 2, 3, 4})
	f.Add(msg(wire.PeerMessage{Type: wire.FrameAppend, From: 2, Term: 1, Entries: entry(1, 1)}))
	f.Add(msg(wire.PeerMessage{Type: wire.FrameVote, From: 3, Term: 7, Index: 9, LogTerm: 6}))
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
		for len(data) > 2 {
			var m wire.PeerMessage
			m, data = arbitrary(data)
			before := n.core.Status()
			leaps := m.Term > before.Term+maxLeap
			if err := n.core.Step(&m); err != nil && (n.core.Status() != before && !leaps || !errors.Is(err, ErrNonsense)) {
				t.Fatalf("%v, and %+v became %+v", err, before, n.core.Status())
			}
			after := n.core.Status()
			if after.Commit < before.Commit || after.Term < before.Term || after.Commit > after.Last || after.Durable > after.Last {
				t.Fatalf("%+v became %+v", before, after)
			}
			n.core.Tick()
			if len(data)%3 == 0 {
				net.ready(n)
				net.msgs = nil
				net.sync(n, 1)
			}
		}
	})
}

// arbitrary builds a message from bytes, with small numbers so that it often
// means something.
func arbitrary(data []byte) (wire.PeerMessage, []byte) {
	if f, err := wire.ParseFrame(data, wire.MaxAppendBytes); err == nil {
		if m, err := wire.ParsePeer(f); err == nil {
			return m, data[f.Size:]
		}
	}
	var b [12]byte
	data = data[copy(b[:], data):]
	m := wire.PeerMessage{
		Type: wire.FrameType(b[0]%12) + wire.FramePreVote, From: wire.NodeID(b[1] % 5), Term: wire.Term(b[2] % 8),
		Index: wire.Index(b[3] % 8), LogTerm: wire.Term(b[4] % 8), Commit: wire.Index(b[5] % 8),
		Reject: b[6]&1 == 1, Hint: wire.Index(b[7] % 8), Round: uint64(b[8] % 4),
	}
	if b[9] == 255 {
		m.Index = wire.Index(binary.LittleEndian.Uint64(b[1:]))
	}
	for i := range b[10] % 4 {
		m.Entries = append(m.Entries, entry(m.Index+wire.Index(i)+1, wire.Term(b[11]%8)+wire.Term(i/2))...)
	}
	return m, data
}
