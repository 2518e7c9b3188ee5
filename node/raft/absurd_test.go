package raft

import (
	"errors"
	"math"
	"testing"

	"github.com/dnode-engine/dnode/wire"
)

// One absurd term costs an election, not all terms that are left. Members that
// are apart by more than one leap still meet.
func TestOneMessageMovesTheTermByOneLeap(t *testing.T) {
	f := func(typ wire.FrameType, lead bool) {
		t.Helper()
		net := newNetwork(3, 0, nil)
		r := net.node(1).core
		if lead {
			net.elect(1)
		}
		start := r.term
		far := start + 2*maxLeap + 7
		m := wire.PeerMessage{Type: typ, From: 2, Term: far, Reject: true}
		for k := wire.Term(1); k <= 2; k++ {
			if err := r.Step(&m); !errors.Is(err, ErrNonsense) || r.term != start+k*maxLeap || r.role != Follower || r.vote != 0 || r.leader != 0 {
				t.Fatalf("type %d, leap %d: %v, %s", typ, k, err, brief(r))
			}
		}
		if step(t, r, m); r.term != far {
			t.Errorf("type %d: term %d after three messages, want %d", typ, r.term, far)
		}
	}
	for _, lead := range []bool{false, true} {
		f(wire.FrameAppend, lead)
		f(wire.FrameRound, lead)
		f(wire.FrameAppendReply, lead)
		f(wire.FrameRoundReply, lead)
		f(wire.FrameVoteReply, lead)
		f(wire.FramePreVoteReply, lead)
	}
	f(wire.FrameVote, false)
}

// In the last term nobody campaigns: a node must not enter a term that others
// refuse and that it could not start from again.
func TestTheLastTermIsNotLeft(t *testing.T) {
	net := newNetwork(3, 0, func(*Config) {})
	n := net.preload(1, maxTerm, 1)
	for range 100 {
		n.core.Tick()
		net.ready(n)
		net.sync(n, len(n.ops))
	}
	if n.core.term != maxTerm || n.core.role != Follower {
		t.Errorf("%s", brief(n.core))
	}
}

// Whatever a member puts into its messages, nothing panics or wraps, and the
// log and the commit index stay what they were.
func TestAbsurdNumbers(t *testing.T) {
	numbers := []uint64{0, 1, 2, uint64(maxLeap), uint64(maxTerm) - 1, uint64(maxTerm), 1 << 63, math.MaxUint64}
	fields := []func(m *wire.PeerMessage, v uint64){
		func(m *wire.PeerMessage, v uint64) { m.Term = wire.Term(v) },
		func(m *wire.PeerMessage, v uint64) { m.Index = wire.Index(v) },
		func(m *wire.PeerMessage, v uint64) { m.LogTerm = wire.Term(v) },
		func(m *wire.PeerMessage, v uint64) { m.Commit = wire.Index(v) },
		func(m *wire.PeerMessage, v uint64) { m.Hint = wire.Index(v) },
		func(m *wire.PeerMessage, v uint64) { m.Round = v },
		func(m *wire.PeerMessage, v uint64) { m.From = wire.NodeID(v) },
	}
	f := func(lead bool, typ wire.FrameType, change func(m *wire.PeerMessage)) {
		net := newNetwork(3, 0, nil)
		n := net.node(1)
		if lead {
			net.elect(1)
		} else {
			n = net.preload(1, 3, 1, 2, 3)
		}
		r := n.core
		before := r.Status()
		m := wire.PeerMessage{Type: typ, From: 2, Term: r.term}
		for range 2 {
			change(&m)
			err := r.Step(&m)
			if err != nil && !errors.Is(err, ErrNonsense) {
				t.Fatalf("%+v: %v", m, err)
			}
			m.Reject = true
		}
		for range 30 {
			r.Tick()
			net.ready(n)
			net.sync(n, len(n.ops))
		}
		after := r.Status()
		if after.Commit != before.Commit || after.Last < before.Last || after.Last > before.Last+2 || after.Term > maxTerm || after.Term < before.Term {
			t.Fatalf("%+v: %+v became %+v", m, before, after)
		}
	}
	for _, lead := range []bool{false, true} {
		for typ := wire.FramePreVote; typ <= wire.FrameTimeoutNow; typ++ {
			for i := range fields {
				for _, a := range numbers {
					for j := range i {
						for _, b := range numbers {
							f(lead, typ, func(m *wire.PeerMessage) { fields[i](m, a); fields[j](m, b) })
						}
					}
				}
			}
		}
	}
}

// A leader only appends: what contradicts what it sent before, in one term, is
// nonsense, committed or not.
func TestLeaderThatTakesEntriesBackIsRefused(t *testing.T) {
	r := newNetwork(3, 0, nil).preload(1, 1, 1, 1).core
	step := func(m wire.PeerMessage) error {
		m.Type, m.From, m.Term = wire.FrameAppend, 2, 3
		return r.Step(&m)
	}
	if err := step(wire.PeerMessage{Index: 2, LogTerm: 1, Entries: entry(3, 3)}); err != nil {
		t.Fatal(err)
	}
	before := r.Status()
	if err := step(wire.PeerMessage{Index: 1, LogTerm: 1, Commit: 7, Entries: entry(2, 3)}); !errors.Is(err, ErrNonsense) || r.Status() != before {
		t.Errorf("%v, %+v became %+v", err, before, r.Status())
	}
	next := wire.PeerMessage{Type: wire.FrameAppend, From: 3, Term: 4, Index: 1, LogTerm: 1, Entries: entry(2, 4)}
	if err := r.Step(&next); err != nil || r.Status().Last != 2 {
		t.Errorf("the next leader: %v, the log ends at %d, want 2", err, r.Status().Last)
	}
}
