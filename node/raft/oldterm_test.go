package raft

import (
	"testing"

	"github.com/dnode-engine/dnode/wire"
)

// A late round of an older term is answered with the new term. If its sender
// leads that term by then, the answer must not confirm a round of it: found by
// the simulator, as a confirmed round that the leader had not begun.
func TestAnswerToAnOldTermConfirmsNoRound(t *testing.T) {
	members := wire.Membership{NextID: 4}
	for id := wire.NodeID(1); id <= 3; id++ {
		members.Members = append(members.Members, wire.Member{ID: id, Name: string('a' + rune(id)), Replica: wire.ReplicaID{byte(id)}, Role: wire.Voter})
	}
	r, err := New(Config{
		ID: 1, ElectionTicks: 10, HeartbeatTicks: 2, MaxAppendBytes: 1 << 20,
		MaxInflightBytes: 1 << 20, MaxUncommittedBytes: 1 << 20, TailBytes: 1 << 20,
	}, State{Fresh: true, First: 1, Members: members})
	if err != nil {
		t.Fatal(err)
	}
	var rd Ready
	answer := func(term wire.Term, round uint64) wire.PeerMessage {
		t.Helper()
		if err := r.Step(&wire.PeerMessage{Type: wire.FrameRound, From: 2, To: 1, Term: term, Round: round}); err != nil {
			t.Fatal(err)
		}
		r.Ready(&rd)
		if rd.Seq != 0 {
			r.Synced(rd.Seq)
			r.Ready(&rd)
		}
		if len(rd.Now) != 1 || rd.Now[0].Type != wire.FrameRoundReply || rd.Now[0].Term != 5 {
			t.Fatalf("answered %+v", rd.Now)
		}
		return rd.Now[0]
	}
	if m := answer(5, 3); m.Round != 3 {
		t.Fatalf("round 3 is answered as %d", m.Round)
	}
	if m := answer(4, 20); m.Round != 0 {
		t.Fatalf("round 20 of an older term is answered as round %d of this one", m.Round)
	}
}
