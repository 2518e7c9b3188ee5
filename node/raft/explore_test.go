package raft

import (
	"fmt"
	"os"
	"runtime/debug"
	"testing"
)

// scopes are explored in every run; farther ones with DNODETEST_EXHAUSTIVE=1.
func scopes() []scope {
	return []scope{
		{name: "two terms", budget: budget{timeouts: 2}},
		{name: "one term, a proposal and a lost link", budget: budget{timeouts: 1, proposals: 1, downs: 1}},
		{name: "two terms and a crash, disk inline", inline: true, budget: budget{timeouts: 2, crashes: 1}},
		{name: "two terms and a proposal, disk inline", inline: true, budget: budget{timeouts: 2, proposals: 1}},
		{name: "one term and a crash, events in batches", batched: true, budget: budget{timeouts: 1, crashes: 1}},
		{name: "figure 8, a term", vote: 3, terms: scarred, budget: budget{timeouts: 1, crashes: 1}},
		{name: "figure 8, two terms, disk inline", vote: 3, terms: scarred, inline: true, budget: budget{timeouts: 2}},
		{name: "a stale entry, a term and a lost link", vote: 3, terms: behind, budget: budget{timeouts: 1, downs: 1}},
		{name: "pre-vote, a term", preVote: true, budget: budget{timeouts: 1, crashes: 1}},
		{name: "a leader, a read and a term, disk inline", begin: ruling, rounds: true, inline: true, budget: budget{timeouts: 1, reads: 1}},
	}
}

func farScopes() []scope {
	return []scope{
		{name: "two terms and a crash", budget: budget{timeouts: 2, crashes: 1}},
		{name: "two terms and a proposal", budget: budget{timeouts: 2, proposals: 1}},
		{name: "two terms and a lost link", budget: budget{timeouts: 2, downs: 1}},
		{name: "two terms, events in batches, disk inline", batched: true, inline: true, budget: budget{timeouts: 2}},
		{name: "figure 8, a term, events in batches", vote: 3, terms: scarred, batched: true, budget: budget{timeouts: 1}},
		{name: "a stale entry, a term and a lost link, events in batches", vote: 3, terms: behind, batched: true, budget: budget{timeouts: 1, downs: 1}},
		{name: "two terms with pre-vote, disk inline", preVote: true, inline: true, budget: budget{timeouts: 2}},
		{name: "two terms with pre-vote", preVote: true, budget: budget{timeouts: 2}},
		{name: "three terms, disk inline", inline: true, budget: budget{timeouts: 3}},
		{name: "two terms, a proposal and a crash, disk inline", inline: true, budget: budget{timeouts: 2, proposals: 1, crashes: 1}},
		{name: "two terms and two proposals, disk inline", inline: true, budget: budget{timeouts: 2, proposals: 2}},
		{name: "figure 8, two terms", vote: 3, terms: scarred, budget: budget{timeouts: 2}},
		{name: "figure 8, two terms and a crash, disk inline", vote: 3, terms: scarred, inline: true, budget: budget{timeouts: 2, crashes: 1}},
		{name: "a leader, a heartbeat, a read and a term, disk inline", begin: ruling, rounds: true, inline: true, budget: budget{timeouts: 1, beats: 1, reads: 1}},
		{name: "a leader, two reads and a term, disk inline", begin: ruling, rounds: true, inline: true, budget: budget{timeouts: 1, reads: 2}},
	}
}

// leading elects node 1, quietly: its first entry is committed everywhere.
func leading(x *explorer, w *world) {
	x.advance(w, event{at: 0, kind: evTimeout})
	x.settle(w)
	x.advance(w, event{at: 0, kind: evBeat})
	x.settle(w)
}

// ruling is leading, with nothing of it left in the network.
func ruling(x *explorer, w *world) {
	leading(x, w)
	w.sent, w.sum = nil, [len(permutations)]uint64{}
}

// settle delivers and stores until nothing changes any more.
func (x *explorer) settle(w *world) {
	for busy := true; busy; {
		busy = false
		for i := range w.nodes {
			if len(x.nodes[w.nodes[i]].n.ops) > 0 {
				busy = x.advance(w, event{at: uint8(i), kind: evSync}) || busy
			}
		}
		for _, m := range w.sent {
			busy = x.advance(w, event{at: uint8(x.msgs[m].To - 1), kind: evDeliver, arg: m}) || busy
		}
	}
}

// TestExplore visits every state within each scope.
func TestExplore(t *testing.T) {
	list, states := scopes(), 1_000_000
	far := os.Getenv("DNODETEST_EXHAUSTIVE") == "1"
	if far {
		list, states = append(list, farScopes()...), 5_000_000
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	for _, s := range list {
		t.Run(s.name, func(t *testing.T) {
			s.states = states
			x := explore(&s)
			size := fmt.Sprintf("%d states, %d of a node, %d messages, %d events, depth %d, exhausted: %v", x.seen.n, len(x.nodes), len(x.msgs), x.events, x.depth, x.exhausted())
			if x.fault != "" {
				t.Fatal(x.fault + size)
			}
			t.Log(size)
			if !x.exhausted() && !far {
				t.Error("cut off")
			}
			if x.seen.n < 1000 {
				t.Error("nothing happens")
			}
		})
	}
}
