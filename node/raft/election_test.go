package raft

import (
	"testing"

	"github.com/dnode-engine/dnode/wire"
)

// Ticks may come in a burst after a pause: stickiness and the silence after a
// restart also last for a lease on the clock, and a quarter of one more, so that
// clocks of different speed do no harm.
func TestABurstOfTicksDoesNotEndALease(t *testing.T) {
	f := func(restart bool) {
		t.Helper()
		net := newNetwork(3, 0, nil)
		n := net.node(1)
		if restart {
			net.preload(1, 3, 1)
			n.core.restarted = true
		}
		r := n.core
		flush(r)
		if !restart {
			step(t, r, wire.PeerMessage{Type: wire.FrameRound, From: 2, Term: 4, Round: 1})
		}
		flush(r)
		for range 15 {
			r.Tick()
		}
		ask := func(term wire.Term) bool {
			step(t, r, wire.PeerMessage{Type: wire.FramePreVote, From: 3, Term: term, Index: 9, LogTerm: term - 1})
			for _, m := range flush(r) {
				if m.Type == wire.FramePreVoteReply {
					return !m.Reject
				}
			}
			return false
		}
		end := r.cfg.LeaseNanos * 5 / 4
		r.SetNow(end - 1)
		if ask(6) {
			t.Errorf("restart %v: granted a pre-vote within the lease", restart)
		}
		if r.Tick(); r.role != Follower {
			t.Errorf("restart %v: campaigned within the lease", restart)
		}
		r.SetNow(end)
		if !ask(7) {
			t.Errorf("restart %v: refused after the lease", restart)
		}
	}
	f(false)
	f(true)
}

// Thesis 4.2.2: only node 1 has the entry that makes it a learner. Node 2 still
// needs its vote and cannot win against its longer log, so that node 1 must lead
// once more, uncounted.
func TestANodeThatItsOwnEntryRemovesMayLeadOnceMore(t *testing.T) {
	net := newNetwork(2, 0, nil)
	net.elect(1)
	m := testMembers(2, 0)
	m.Members[0].Role = wire.Learner
	m.Outgoing = []wire.NodeID{1, 2}
	if _, err := net.proposeConfig(1, m); err != nil {
		t.Fatal(err)
	}
	net.settle()
	m.Outgoing = nil
	if _, err := net.proposeConfig(1, m); err != nil {
		t.Fatal(err)
	}
	net.cuts = append(net.cuts, [2]wire.NodeID{1, 2})
	net.settle()
	net.node(1).crash()
	net.cuts = nil
	if err := net.node(1).start(false); err != nil {
		t.Fatal(err)
	}
	net.node(1).core.SetNow(net.now)
	for range 200 {
		net.tickAll()
		net.settle()
	}
	for _, n := range net.nodes {
		if r := n.core; r.Commit() < 4 || r.Commit() != r.log.last || r.role == Leader != (n.id == 2) {
			t.Errorf("node %d: %s, %s", n.id, brief(r), voters(r))
		}
	}
}

// A new leader's time never goes back behind the log's.
func TestTheNoopsTimeIsAtLeastTheLogs(t *testing.T) {
	net := newNetwork(3, 0, nil)
	r := net.elect(1).core
	head := wire.AppendTime(nil, 500)
	if _, err := r.Propose(wire.EntryCommand, append(head, make([]byte, wire.StampBytes-8)...), nil); err != nil {
		t.Fatal(err)
	}
	net.settle()
	next := net.node(2).core
	next.SetStamp(40)
	net.elect(2)
	if next.role != Leader || next.LastTime() != 500 {
		t.Errorf("%s, time %d", brief(next), next.LastTime())
	}
}

// A lease outlives the term of its leader: who helped to confirm it votes for nobody
// before it is over, whatever term it hears of, nor in the term that it is in already.
func TestAPromiseOutlivesTheTerm(t *testing.T) {
	r := newNetwork(3, 0, nil).node(1).core
	step(t, r, wire.PeerMessage{Type: wire.FrameRound, From: 2, Term: 4, Round: 1})
	flush(r)
	step(t, r, wire.PeerMessage{Type: wire.FrameAppendReply, From: 3, Term: 6, Reject: true})
	granted := func() bool {
		step(t, r, wire.PeerMessage{Type: wire.FrameVote, From: 3, Term: 6, Index: 9, LogTerm: 5})
		for _, m := range flush(r) {
			if m.Type == wire.FrameVoteReply {
				return !m.Reject
			}
		}
		return false
	}
	for range 2 * r.cfg.ElectionTicks {
		if r.Tick(); r.role != Follower || granted() {
			t.Fatalf("helps to replace a leader that may hold a lease: %s", brief(r))
		}
	}
	r.SetNow(r.cfg.LeaseNanos * 5 / 4)
	if r.term != 6 || !granted() {
		t.Errorf("refuses after the lease: %s", brief(r))
	}
}

// A node that has a reason not to lead leads if nobody else does.
func TestAReluctantNodeCampaignsAfterAll(t *testing.T) {
	r := newNetwork(3, 0, nil).node(1).core
	r.SetReluctant(true)
	for tick := range 4 * r.cfg.ElectionTicks {
		if r.Tick(); r.role != Follower {
			if tick < 2*r.cfg.ElectionTicks {
				t.Errorf("campaigns after %d ticks", tick)
			}
			return
		}
	}
	t.Error("never campaigns")
}
