package raft

import (
	"testing"

	"github.com/dnode-engine/dnode/wire"
)

// Messages to a member that does not answer are bounded in number, however
// small they are, and the rest follows when it does.
func TestMessagesInFlightAreBounded(t *testing.T) {
	net := newNetwork(3, 0, nil)
	lead := net.elect(1)
	net.settle()
	appends := func() (n int) {
		net.ready(lead)
		net.sync(lead, len(lead.ops))
		for _, m := range net.msgs {
			if m.To == 2 && m.Type == wire.FrameAppend && len(m.Entries) > 0 {
				n++
			}
		}
		return n
	}
	for range 3 * maxInflight {
		if _, err := net.propose(1, "x"); err != nil {
			t.Fatal(err)
		}
		appends()
	}
	if n := appends(); n != maxInflight {
		t.Errorf("%d messages to a silent member, want %d", n, maxInflight)
	}
	net.settle()
	if last := net.node(2).core.log.last; last != lead.core.log.last {
		t.Errorf("the member has %d of %d entries", last, lead.core.log.last)
	}
}

// Messages that wait for a disk that hangs are bounded.
func TestMessagesWaitingForTheDiskAreBounded(t *testing.T) {
	net := newNetwork(3, 0, nil)
	n := net.node(1)
	for k := range wire.Term(3 * maxWaiting) { // each answered with the term that it brings
		step(t, n.core, wire.PeerMessage{Type: wire.FrameRound, From: 2, Term: k + 1})
	}
	net.ready(n)
	if got := len(n.core.waiting); got != maxWaiting {
		t.Errorf("%d messages wait, want %d", got, maxWaiting)
	}
	net.sync(n, len(n.ops))
	net.ready(n)
	if len(n.core.waiting) != 0 || len(net.msgs) == 0 {
		t.Errorf("%d messages still wait, %d left", len(n.core.waiting), len(net.msgs))
	}
}

// Reads against a quorum that is silent start no more rounds than are useful;
// their answers count when it is back.
func TestUnconfirmedRoundsAreBounded(t *testing.T) {
	net := newNetwork(3, 0, nil)
	r := net.elect(1).core
	net.settle()
	confirmed := r.rounds.confirmed
	for range 10 * maxRounds {
		if _, err := r.ReadIndex(); err != nil {
			t.Fatal(err)
		}
		net.ready(net.node(1))
	}
	if n := r.rounds.last - confirmed; n != maxRounds {
		t.Errorf("%d rounds are under way, want %d", n, maxRounds)
	}
	rd, err := r.ReadIndex()
	if err != nil {
		t.Fatal(err)
	}
	net.settle()
	if r.Confirmed() < rd.Round {
		t.Errorf("round %d is confirmed, the read waits for %d", r.Confirmed(), rd.Round)
	}
}

// A leader that commits nothing cannot make a follower's memory grow for ever.
// The next leader finds the follower as it would any other.
func TestUncommittedEntriesOfAFollowerAreBounded(t *testing.T) {
	net := newNetwork(3, 0, nil)
	n := net.node(1)
	r := n.core
	payload := make([]byte, 1<<20)
	send := func(from wire.NodeID, term wire.Term, at wire.Index, atTerm wire.Term, commit wire.Index) {
		t.Helper()
		e := wire.AppendEntry(nil, wire.EntryHead{Type: wire.EntryCommand, Index: at + 1, Term: term}, payload, nil)
		step(t, r, wire.PeerMessage{Type: wire.FrameAppend, From: from, Term: term, Index: at, LogTerm: atTerm, Commit: commit, Entries: e})
		net.ready(n)
		net.sync(n, len(n.ops))
		net.msgs = nil
	}
	send(2, 1, 0, 0, 0)
	for range 100 {
		send(2, 1, r.log.last, 1, 0)
	}
	full := r.log.last
	if r.log.memBytes > r.mostInMemory()+2<<20 || full > 20 {
		t.Fatalf("%d bytes in memory, %d entries", r.log.memBytes, full)
	}
	send(2, 1, full, 1, full) // dropped, but what it says is committed makes room
	r.Applied(r.log.commit)
	if send(2, 1, full, 1, full); r.log.last != full+1 {
		t.Errorf("last %d, want one more than %d", r.log.last, full)
	}
	for range 100 {
		send(2, 1, r.log.last, 1, full)
	}
	if send(3, 2, full, 1, full); r.log.last != full+1 || r.log.lastTerm() != 2 {
		t.Errorf("last %d of term %d after another leader's entry at %d", r.log.last, r.log.lastTerm(), full+1)
	}
}
