package raft

import (
	"testing"

	"github.com/dnode-engine/dnode/wire"
)

// What a member once had on its disk it still has: an acknowledgement that comes
// late, behind a newer one, takes nothing back.
func TestALateAcknowledgementTakesNothingBack(t *testing.T) {
	net := newNetwork(3, 0, nil)
	net.preload(1, 2, 1, 1, 2)
	r := newLeader(net)
	flush(r)
	ack := func(i wire.Index) {
		t.Helper()
		step(t, r, wire.PeerMessage{Type: wire.FrameAppendReply, From: 2, Term: r.term, Index: i})
		flush(r)
	}
	ack(4)
	if r.Commit() != 4 || r.find(2).match != 4 {
		t.Fatalf("commit index %d, match %d", r.Commit(), r.find(2).match)
	}
	ack(2)
	if p := r.find(2); p.match != 4 || p.next != 5 {
		t.Errorf("match %d, next %d after a late answer", p.match, p.next)
	}
}

// While entries are read back for a member it may say that it has them: they are
// not what comes next any more, and nothing else is sent in their place.
func TestEntriesReadBackTooLateAreNotSent(t *testing.T) {
	net := newNetwork(3, 0, nil)
	net.preload(1, 2, 1, 1, 2)
	r := newLeader(net)
	flush(r)
	p := r.find(2)
	p.reading, p.next, p.probing = 1, 1, false
	step(t, r, wire.PeerMessage{Type: wire.FrameAppendReply, From: 2, Term: r.term, Index: 3})
	r.EntriesRead(2, 1, entry(1, 1), nil)
	sent := 0
	for _, m := range flush(r) {
		if m.To != 2 || len(m.Entries) == 0 {
			continue
		}
		e, err := wire.ParseEntry(m.Entries)
		if err != nil || e.Index != m.Index+1 || e.Index != 4 {
			t.Errorf("entry %d is sent behind entry %d: %v", e.Index, m.Index, err)
		}
		sent++
	}
	if sent != 1 {
		t.Errorf("%d appends with entries", sent)
	}
}

// A log may hold a later term than a vote file that was damaged: a member is never
// in a term before its log's, and what it voted in that term is not known.
func TestAMemberIsInNoTermBeforeItsLogs(t *testing.T) {
	r := newNetwork(3, 0, nil).preload(1, 3, 1, 5).core
	var rd Ready
	r.Ready(&rd)
	if r.term != 5 || r.vote != 0 || !rd.SaveVote || rd.Vote.Term != 5 {
		t.Errorf("term %d, vote %d, to be saved %v: %+v", r.term, r.vote, rd.SaveVote, rd.Vote)
	}
}

// Only so many sendings of rounds are remembered. A lease whose round is no longer
// among them is over, and does not count from the round that took its place.
func TestALeaseEndsWhenItsRoundIsForgotten(t *testing.T) {
	r := newLeader(newNetwork(3, 0, nil))
	flush(r)
	answer := func(typ wire.FrameType, round uint64) {
		t.Helper()
		step(t, r, wire.PeerMessage{Type: typ, From: 2, Term: r.term, Index: 1, Round: round})
	}
	answer(wire.FrameAppendReply, 0)
	answer(wire.FrameRoundReply, r.rounds.last)
	if r.LeaseUntil() == 0 {
		t.Fatal("no lease to begin with")
	}
	until := r.LeaseUntil()
	for tick := range int64(2 * roundTimes * r.cfg.HeartbeatTicks) {
		r.SetNow((tick + 1) * tickNanos)
		r.Tick()
		flush(r)
		answer(wire.FrameAppendReply, 0) // its answers to rounds are all lost
		if l := r.LeaseUntil(); l != until && l != 0 || r.role != Leader {
			t.Fatalf("tick %d: lease until %d, it was %d; %v", tick, l, until, r.role)
		}
	}
}
