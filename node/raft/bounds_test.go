package raft

import (
	"errors"
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

// appendAt hands node n an Append with one entry of a MiB behind entry at.
func appendAt(t *testing.T, net *network, n *node, m wire.PeerMessage) {
	t.Helper()
	head := wire.EntryHead{Type: wire.EntryCommand, Index: m.Index + 1, Term: m.Term}
	m.Type, m.Entries = wire.FrameAppend, wire.AppendEntry(nil, head, make([]byte, 1<<20), nil)
	step(t, n.core, m)
	net.ready(n)
}

// A leader that commits nothing cannot make a follower's memory grow for ever:
// what is on the disk leaves it, and while the disk hangs nothing more is taken.
func TestUncommittedEntriesOfAFollowerAreBounded(t *testing.T) {
	net := newNetwork(3, 0, nil)
	n := net.node(1)
	r := n.core
	send := func() {
		t.Helper()
		m := wire.PeerMessage{From: 2, Term: 1, Index: r.log.last, LogTerm: r.log.lastTerm()}
		if appendAt(t, net, n, m); r.log.memBytes > r.mostInMemory()+2<<20 {
			t.Fatalf("%d bytes in memory, %d entries", r.log.memBytes, r.log.last)
		}
	}
	for range 50 {
		send()
		net.sync(n, len(n.ops))
	}
	if r.log.last != 50 {
		t.Fatalf("last %d, want 50", r.log.last)
	}
	n.hang = true
	for range 50 {
		send()
	}
	if r.log.last == 100 {
		t.Error("nothing was refused while the disk hung")
	}
	n.hang = false
	net.sync(n, len(n.ops))
	before := r.log.last
	if send(); r.log.last != before+1 {
		t.Errorf("last %d, want one more than %d", r.log.last, before)
	}
}

// What a member holds that was never committed, or that it has yet to apply,
// keeps no entry out: it may be the one without which a leader commits nothing.
func TestFullMemoryKeepsNoEntryOut(t *testing.T) {
	for name, commits := range map[string]bool{"uncommitted": false, "not applied": true} {
		net := newNetwork(3, 0, nil)
		lead, n := net.node(1), net.node(2)
		for i := range wire.Index(40) { // of leaders that forgot with their lives how much that was
			m := wire.PeerMessage{From: 3, Term: 1, Index: i, LogTerm: min(1, wire.Term(i))}
			if commits {
				m.Commit = i
			}
			appendAt(t, net, n, m)
			net.sync(n, len(n.ops))
			head := wire.EntryHead{Type: wire.EntryCommand, Index: i + 1, Term: 1}
			lead.log = append(lead.log, stored{i + 1, 1, wire.AppendEntry(nil, head, make([]byte, 1<<20), nil)})
		}
		lead.crash()
		if err := lead.start(true); err != nil {
			t.Fatal(err)
		}
		lead.core.SetNow(net.now)
		net.msgs, net.cuts = nil, [][2]wire.NodeID{{1, 3}, {3, 1}, {2, 3}, {3, 2}}
		for range 60 {
			net.tickAll()
			net.settle()
		}
		if c := max(lead.core.log.commit, n.core.log.commit); c < 41 {
			t.Errorf("%s: %s, member: %s", name, brief(lead.core), brief(n.core))
		}
	}
}

// A leader whose own disk is behind commits with the disks of others. What it holds
// in memory for its disk is bounded all the same: more is refused, until the disk has
// caught up.
func TestEntriesThatWaitForTheLeadersDiskAreBounded(t *testing.T) {
	net := newNetwork(3, 0, nil)
	lead := net.elect(1)
	net.settle()
	r := lead.core
	lead.hang = true
	refused := 0
	for range 100 {
		if _, err := net.propose(1, string(make([]byte, 1<<20))); errors.Is(err, ErrBusy) {
			refused++
		} else if err != nil {
			t.Fatal(err)
		}
		net.settle()
		if r.log.memBytes > r.mostInMemory()+2<<20 {
			t.Fatalf("%d bytes in memory, %s", r.log.memBytes, brief(r))
		}
	}
	if r.log.commit != r.log.last || refused == 0 {
		t.Fatalf("%d refused, %s", refused, brief(r))
	}
	lead.hang = false
	net.settle()
	if _, err := net.propose(1, "x"); err != nil {
		t.Errorf("refused with an idle disk: %v, %s", err, brief(r))
	}
}

// What others have on their disks may be committed and applied here before the own
// disk has it. It stays in memory until then: nowhere else could it be read.
func TestEntriesStayInMemoryUntilTheyAreDurable(t *testing.T) {
	net := newNetwork(3, 0, func(c *Config) { c.TailBytes = 1 })
	net.elect(1)
	n := net.node(2)
	n.hang = true
	durable := n.core.log.durable
	for range 100 {
		if _, err := net.propose(1, "some more bytes"); err != nil {
			t.Fatal(err)
		}
		net.settle()
	}
	net.tick(net.node(1), 2)
	net.settle()
	r := n.core
	r.Applied(r.Commit())
	if st := r.Status(); st.Durable != durable || st.Applied < 100 || st.MemFirst > durable+1 {
		t.Errorf("%+v", st)
	}
	n.hang = false
	net.settle()
	if r.Applied(r.Commit()); r.log.memFirst < 50 {
		t.Errorf("in memory from %d: the test shows nothing", r.log.memFirst)
	}
}

// What every member has leaves a leader's memory and a follower's soon; what one
// lacks stays in a leader's for it.
func TestTailOfTheLogThatAllHaveIsShort(t *testing.T) {
	net := newNetwork(3, 0, func(c *Config) { c.TailBytes = 64 << 20 })
	lead := net.elect(1)
	net.settle()
	propose := func(n int) {
		t.Helper()
		for range n {
			if _, err := net.propose(1, string(make([]byte, 1<<20))); err != nil {
				t.Fatal(err)
			}
			net.settle()
			for id := range wire.NodeID(3) {
				r := net.node(id + 1).core
				r.Applied(r.log.commit)
			}
		}
	}
	const short = sharedTailBytes + 2<<20 // chunks are let go whole
	propose(20)
	for id := range wire.NodeID(3) {
		if n := net.node(id + 1).core.log.memBytes; n < sharedTailBytes/2 || n > short {
			t.Errorf("member %d has %d bytes in memory that all have", id+1, n)
		}
	}
	net.cuts = [][2]wire.NodeID{{1, 3}, {3, 1}}
	propose(20)
	if n := lead.core.log.memBytes; n < 20<<20 {
		t.Errorf("the leader has %d bytes in memory, one member lacks 20 MiB", n)
	}
	if n := net.node(2).core.log.memBytes; n > short {
		t.Errorf("a follower has %d bytes in memory", n)
	}
	net.cuts = nil
	for range 20 {
		net.tickAll()
		if !net.settles() {
			t.Fatal("the member that was away does not catch up")
		}
	}
	propose(1)
	if n := lead.core.log.memBytes; n > short || net.node(3).core.log.last != lead.core.log.last {
		t.Errorf("the leader has %d bytes in memory, the member that was away %d entries of %d", n, net.node(3).core.log.last, lead.core.log.last)
	}
}
