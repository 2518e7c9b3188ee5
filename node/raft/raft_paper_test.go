package raft

import (
	"errors"
	"slices"
	"testing"

	"github.com/dnode-engine/dnode/wire"
)

// The tests of this file are named after sentences of "In search of an
// understandable consensus algorithm" (extended version) and of Ongaro's
// thesis; the section stands above each.

// step hands a message to a core as if from another member.
func step(t *testing.T, r *Raft, m wire.PeerMessage) {
	t.Helper()
	if err := r.Step(&m); err != nil {
		t.Fatal(err)
	}
}

// flush takes a Ready, completes its batch and returns all messages that left.
func flush(r *Raft) []wire.PeerMessage {
	var rd Ready
	var out []wire.PeerMessage
	for {
		r.Ready(&rd)
		out = append(out, rd.Now...)
		if rd.Seq == 0 && len(rd.Now) == 0 {
			return out
		}
		if rd.Seq != 0 {
			r.Synced(rd.Seq)
		}
	}
}

func entry(index wire.Index, term wire.Term) []byte {
	return wire.AppendEntry(nil, wire.EntryHead{Type: wire.EntryCommand, Index: index, Term: term}, make([]byte, wire.StampBytes), nil)
}

func only(t *testing.T, ms []wire.PeerMessage, typ wire.FrameType) wire.PeerMessage {
	t.Helper()
	ms = slices.DeleteFunc(ms, func(m wire.PeerMessage) bool { return m.Type != typ })
	if len(ms) != 1 {
		t.Fatalf("%d messages of type %d", len(ms), typ)
	}
	return ms[0]
}

// newLeader elects node 1 of a cluster and stops before anything it sends as
// the leader is delivered.
func newLeader(net *network) *Raft {
	r := net.node(1).core
	net.campaign(net.node(1))
	for r.role != Leader {
		for _, n := range net.nodes {
			net.ready(n)
			net.sync(n, len(n.ops))
			net.ready(n)
		}
		for k := len(net.msgs); k > 0 && r.role != Leader; k-- {
			net.deliver(0)
		}
	}
	net.msgs = nil
	return r
}

// Section 5.1.
func TestIfAServersTermIsSmallerItUpdatesItsTermToTheLargerValue(t *testing.T) {
	f := func(typ wire.FrameType, lead bool) {
		t.Helper()
		net := newNetwork(3, 0, nil)
		r := net.node(1).core
		if lead {
			net.elect(1)
		}
		step(t, r, wire.PeerMessage{Type: typ, From: 2, Term: 9, Reject: typ == wire.FramePreVoteReply})
		if r.term != 9 || r.role != Follower {
			t.Errorf("type %d: %s", typ, brief(r))
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
}

// Section 5.1, and thesis 9.6: what only asks does not count.
func TestAPreVoteChangesNothing(t *testing.T) {
	r := newNetwork(3, 0, nil).node(1).core
	before := r.Status()
	step(t, r, wire.PeerMessage{Type: wire.FramePreVote, From: 2, Term: 9, Index: 5, LogTerm: 8})
	if m := only(t, flush(r), wire.FramePreVoteReply); m.Reject || m.Term != 9 {
		t.Errorf("reply %+v", m)
	}
	if r.Status() != before {
		t.Errorf("%+v became %+v", before, r.Status())
	}
}

// Section 5.1.
func TestIfAServerReceivesARequestWithAStaleTermItRejectsIt(t *testing.T) {
	f := func(typ, reply wire.FrameType) {
		t.Helper()
		net := newNetwork(3, 0, nil)
		r := net.preload(1, 5, 1, 1).core
		flush(r)
		step(t, r, wire.PeerMessage{Type: typ, From: 2, Term: 4, Index: 2, LogTerm: 1, Round: 7})
		// R14: the answer carries the higher term, so that the sender gives way.
		if m := only(t, flush(r), reply); m.Term != 5 || m.Index+m.Hint != 0 || m.Round != 0 || m.Type != wire.FrameRoundReply && !m.Reject {
			t.Errorf("type %d: reply %+v", typ, m)
		}
		if r.term != 5 || r.leader != 0 {
			t.Errorf("type %d: %s", typ, brief(r))
		}
	}
	f(wire.FrameAppend, wire.FrameAppendReply)
	f(wire.FrameRound, wire.FrameRoundReply)
	f(wire.FrameVote, wire.FrameVoteReply)
	f(wire.FramePreVote, wire.FramePreVoteReply)
}

// Section 5.2.
func TestEachServerVotesForAtMostOneCandidateInATermFirstComeFirstServed(t *testing.T) {
	net := newNetwork(3, 0, nil)
	r := net.node(1).core
	f := func(from wire.NodeID, term wire.Term, granted bool) {
		t.Helper()
		step(t, r, wire.PeerMessage{Type: wire.FrameVote, From: from, Term: term})
		if m := only(t, flush(r), wire.FrameVoteReply); m.Reject == granted || m.Term != term {
			t.Errorf("vote for %d in %d: %+v", from, term, m)
		}
	}
	f(2, 1, true)
	f(3, 1, false)
	f(2, 1, true) // asked again
	f(3, 2, true)
	f(2, 2, false)
}

// Section 5.2: "election timeouts are chosen randomly from a fixed interval",
// anew for each election.
func TestElectionTimeoutsAreChosenRandomlyFromAFixedInterval(t *testing.T) {
	r := newNetwork(3, 0, nil).node(1).core
	seen := make([]int, 2*r.cfg.ElectionTicks)
	for range 1000 {
		r.drawTimeout()
		seen[r.timeout]++
	}
	for ticks, n := range seen {
		if inside := ticks >= r.cfg.ElectionTicks; inside != (n > 0) {
			t.Errorf("%d ticks were drawn %d times", ticks, n)
		}
	}
	other := newNetwork(3, 0, nil).node(2).core
	same := 0
	for range 100 {
		r.drawTimeout()
		other.drawTimeout()
		if r.timeout == other.timeout {
			same++
		}
	}
	if same > 50 {
		t.Errorf("two nodes drew the same timeout %d times in 100", same)
	}
}

// Section 5.2 (R13): a follower's timer is put off by its leader and by a vote
// it grants, and by nothing else.
func TestAFollowerRemainsFollowerAsLongAsItReceivesValidRPCs(t *testing.T) {
	f := func(m wire.PeerMessage, putOff bool) {
		t.Helper()
		r := newNetwork(3, 0, nil).preload(1, 3, 1, 2).core
		r.elapsed = 5
		step(t, r, m)
		if (r.elapsed == 0) != putOff {
			t.Errorf("%s: elapsed %d", describe(&m), r.elapsed)
		}
	}
	f(wire.PeerMessage{Type: wire.FrameRound, From: 2, Term: 3}, true)
	f(wire.PeerMessage{Type: wire.FrameAppend, From: 2, Term: 3, Index: 2, LogTerm: 2}, true)
	f(wire.PeerMessage{Type: wire.FrameVote, From: 2, Term: 4, Index: 2, LogTerm: 2}, true)
	f(wire.PeerMessage{Type: wire.FrameVote, From: 2, Term: 4, Index: 1, LogTerm: 1}, false)
	f(wire.PeerMessage{Type: wire.FramePreVote, From: 2, Term: 4, Index: 2, LogTerm: 2}, false)
	f(wire.PeerMessage{Type: wire.FrameRound, From: 2, Term: 2}, false)
	f(wire.PeerMessage{Type: wire.FrameAppendReply, From: 2, Term: 4}, false)
}

// Section 5.3.
func TestTheConsistencyCheckRefusesWhatDoesNotFollow(t *testing.T) {
	f := func(index wire.Index, term wire.Term, refused bool) {
		t.Helper()
		r := newNetwork(3, 0, nil).preload(1, 3, 1, 2).core
		flush(r)
		step(t, r, wire.PeerMessage{Type: wire.FrameAppend, From: 2, Term: 3, Index: index, LogTerm: term})
		if m := only(t, flush(r), wire.FrameAppendReply); m.Reject != refused {
			t.Errorf("after %d/t%d: %+v", index, term, m)
		}
	}
	f(0, 0, false)
	f(1, 1, false)
	f(2, 2, false)
	f(1, 2, true)
	f(2, 1, true)
	f(3, 3, true)
}

// Section 5.3 (R7): a follower truncates at the first conflict only; a stale or
// repeated message removes nothing.
func TestIfAnExistingEntryConflictsItIsDeletedWithAllThatFollow(t *testing.T) {
	f := func(prev wire.Index, prevTerm wire.Term, add []wire.Term, want string) {
		t.Helper()
		r := newNetwork(3, 0, nil).preload(1, 5, 1, 2, 2, 3).core
		m := wire.PeerMessage{Type: wire.FrameAppend, From: 2, Term: 5, Index: prev, LogTerm: prevTerm}
		for i, term := range add {
			m.Entries = append(m.Entries, entry(prev+wire.Index(i)+1, term)...)
		}
		step(t, r, m)
		if got := terms(r); got != want {
			t.Errorf("after %d/t%d %v: %s, want %s", prev, prevTerm, add, got, want)
		}
	}
	f(0, 0, nil, "1 2 2 3")
	f(1, 1, []wire.Term{2}, "1 2 2 3")
	f(0, 0, []wire.Term{1, 2, 2}, "1 2 2 3")
	f(3, 2, []wire.Term{3, 5}, "1 2 2 3 5")
	f(2, 2, []wire.Term{4}, "1 2 4")
	f(0, 0, []wire.Term{4}, "4")
	f(4, 3, []wire.Term{5}, "1 2 2 3 5")
}

// Section 5.4.1.
func TestTheVoterDeniesItsVoteIfItsOwnLogIsMoreUpToDate(t *testing.T) {
	f := func(index wire.Index, term wire.Term, granted bool) {
		t.Helper()
		for _, typ := range []wire.FrameType{wire.FrameVote, wire.FramePreVote} {
			r := newNetwork(3, 0, nil).preload(1, 5, 1, 3, 3).core
			flush(r)
			step(t, r, wire.PeerMessage{Type: typ, From: 2, Term: 9, Index: index, LogTerm: term})
			if m := only(t, flush(r), typ+1); m.Reject == granted {
				t.Errorf("type %d, last %d/t%d: %+v", typ, index, term, m)
			}
		}
	}
	f(3, 3, true)
	f(4, 3, true)
	f(1, 4, true)
	f(2, 3, false)
	f(9, 2, false)
	f(0, 0, false)
}

// Section 5.4.2, figure 8.
func TestOnlyLogEntriesFromTheLeadersCurrentTermAreCommittedByCounting(t *testing.T) {
	net := newNetwork(5, 0, nil)
	net.preload(1, 3, 1, 2)
	for id := wire.NodeID(2); id <= 5; id++ {
		net.preload(id, 3, 1)
	}
	r := newLeader(net)
	flush(r)
	if r.log.last != 3 || r.log.durable != 3 {
		t.Fatal(brief(r))
	}
	for id := wire.NodeID(2); id <= 5; id++ {
		step(t, r, wire.PeerMessage{Type: wire.FrameAppendReply, From: id, Term: r.term, Index: 2})
	}
	if r.Commit() != 0 {
		t.Fatalf("entry 2 of term 2 was committed by counting in term %d", r.term)
	}
	step(t, r, wire.PeerMessage{Type: wire.FrameAppendReply, From: 2, Term: r.term, Index: 3})
	step(t, r, wire.PeerMessage{Type: wire.FrameAppendReply, From: 3, Term: r.term, Index: 3})
	if r.Commit() != 3 {
		t.Fatalf("commit %d", r.Commit())
	}
}

// Figure 2: "if leaderCommit > commitIndex, set commitIndex = min(leaderCommit,
// index of last new entry)" (R8).
func TestAFollowersCommitIndexStopsAtTheLastNewEntry(t *testing.T) {
	r := newNetwork(3, 0, nil).preload(1, 5, 1, 2, 2, 2).core
	step(t, r, wire.PeerMessage{Type: wire.FrameRound, From: 2, Term: 5, Commit: 4, Round: 1})
	if r.Commit() != 0 {
		t.Errorf("a round committed %d unverified entries", r.Commit())
	}
	step(t, r, wire.PeerMessage{Type: wire.FrameAppend, From: 2, Term: 5, Index: 1, LogTerm: 1, Commit: 4, Entries: entry(2, 2)})
	if r.Commit() != 2 {
		t.Errorf("commit %d, want 2", r.Commit())
	}
}

// Thesis 10.2.1: the leader may send before its own disk is done, but counts
// itself like any other.
func TestTheLeaderCountsItselfOnlyWhenItsDiskIsDone(t *testing.T) {
	net := newNetwork(3, 0, nil)
	r := net.elect(1).core
	i, _ := net.propose(1, "x")
	var rd Ready
	r.Ready(&rd)
	step(t, r, wire.PeerMessage{Type: wire.FrameAppendReply, From: 2, Term: r.term, Index: i})
	if r.Commit() >= i {
		t.Error("committed with one disk of three")
	}
	r.Synced(rd.Seq)
	if r.Commit() != i {
		t.Errorf("commit %d, want %d", r.Commit(), i)
	}
}

// DESIGN: a follower acknowledges min(durable, verified). Its stale suffix is
// as durable as can be, and is never acknowledged.
func TestAStaleSuffixIsNeverAcknowledged(t *testing.T) {
	r := newNetwork(3, 0, nil).preload(1, 5, 1, 2, 2).core
	flush(r)
	step(t, r, wire.PeerMessage{Type: wire.FrameAppend, From: 2, Term: 5, Index: 1, LogTerm: 1})
	if m := only(t, flush(r), wire.FrameAppendReply); m.Index != 1 || m.Reject {
		t.Errorf("acknowledged %+v, entry 1 is verified", m)
	}
	var rd Ready
	step(t, r, wire.PeerMessage{Type: wire.FrameAppend, From: 2, Term: 5, Index: 3, LogTerm: 2, Entries: entry(4, 5)})
	r.Ready(&rd)
	for _, m := range rd.Now {
		if m.Type == wire.FrameAppendReply && m.Index > 3 {
			t.Errorf("entry 4 is not durable: %+v", m)
		}
	}
	if m := only(t, flush2(r, rd.Seq), wire.FrameAppendReply); m.Index != 4 {
		t.Errorf("acknowledged %+v", m)
	}
}

func flush2(r *Raft, seq uint64) []wire.PeerMessage {
	r.Synced(seq)
	return flush(r)
}

// R11: a completion counts only for entries that are still in the log. Here the
// replacement has even the same index and term as what was truncated.
func TestACompletionDoesNotCountForAReplacement(t *testing.T) {
	r := newNetwork(3, 0, nil).preload(1, 1, 1).core
	flush(r)
	app := func(term wire.Term, from wire.NodeID, entries []byte) (seq uint64) {
		step(t, r, wire.PeerMessage{Type: wire.FrameAppend, From: from, Term: term, Index: 1, LogTerm: 1, Entries: entries})
		var rd Ready
		r.Ready(&rd)
		return rd.Seq
	}
	first := app(1, 2, slices.Concat(entry(2, 1), entry(3, 1)))
	second := app(2, 3, entry(2, 2))
	third := app(3, 2, slices.Concat(entry(2, 1), entry(3, 1)))
	f := func(seq uint64, durable wire.Index) {
		t.Helper()
		r.Synced(seq)
		if r.log.durable != durable {
			t.Errorf("after batch %d: durable %d, want %d", seq, r.log.durable, durable)
		}
		for _, m := range flush(r) {
			if m.Type == wire.FrameAppendReply && m.Term == 3 && m.Index > durable {
				t.Errorf("after batch %d: acknowledged %d", seq, m.Index)
			}
		}
	}
	f(first, 1)
	f(second, 1)
	f(third, 3)
}

// Thesis 3.8 (R2): a vote leaves when it is on the disk.
func TestAVoteLeavesOnlyWhenItIsDurable(t *testing.T) {
	r := newNetwork(3, 0, nil).node(1).core
	step(t, r, wire.PeerMessage{Type: wire.FrameVote, From: 2, Term: 4})
	var rd, again Ready
	r.Ready(&rd)
	r.Ready(&again)
	if !rd.SaveVote || rd.Vote != (wire.Vote{Term: 4, For: 2}) || len(rd.Now)+len(again.Now) != 0 || again.Seq != 0 {
		t.Fatalf("%+v, then %+v", rd, again)
	}
	r.Synced(rd.Seq)
	if m := only(t, flush(r), wire.FrameVoteReply); m.Reject {
		t.Errorf("%+v", m)
	}
}

// Thesis 4.1 (M1) and 4.3.
func TestVotersChangeOnlyAfterACommitInTheLeadersTerm(t *testing.T) {
	net := newNetwork(3, 0, nil)
	newLeader(net)
	joint := testMembers(3, 0)
	joint.Members[2].Role = wire.Learner
	joint.Outgoing = []wire.NodeID{1, 2, 3}
	if _, err := net.proposeConfig(1, joint); !errors.Is(err, ErrNotReady) {
		t.Errorf("before the no-op is committed: %v", err)
	}
	net.tick(net.node(1), 2) // the heartbeat repeats what was lost
	net.settle()
	if _, err := net.proposeConfig(1, joint); err != nil {
		t.Error(err)
	}
	if _, err := net.proposeConfig(1, joint); !errors.Is(err, ErrConfigPending) {
		t.Errorf("while one is pending: %v", err)
	}
}

// Thesis 4.2.2 (M4): a leader that is removed leads until that is committed,
// without counting itself, and then steps down.
func TestARemovedLeaderStepsDownWhenItsRemovalIsCommitted(t *testing.T) {
	net := newNetwork(3, 0, nil)
	r := net.elect(1).core
	joint := testMembers(3, 0)
	joint.Members[0].Role = wire.Learner
	joint.Outgoing = []wire.NodeID{1, 2, 3}
	if _, err := net.proposeConfig(1, joint); err != nil {
		t.Fatal(err)
	}
	net.settle()
	joint.Outgoing, joint.Members = nil, joint.Members[1:]
	i, err := net.proposeConfig(1, joint)
	if err != nil {
		t.Fatal(err)
	}
	net.ready(net.node(1))
	net.sync(net.node(1), 9)
	step(t, r, wire.PeerMessage{Type: wire.FrameAppendReply, From: 2, Term: r.term, Index: i})
	if r.role != Leader || r.Commit() == i {
		t.Fatalf("counted itself: %s", brief(r))
	}
	step(t, r, wire.PeerMessage{Type: wire.FrameAppendReply, From: 3, Term: r.term, Index: i})
	if r.role != Follower || r.Commit() != i {
		t.Fatal(brief(r))
	}
	for range 50 {
		net.tick(net.node(1), 1)
	}
	if r.role != Follower {
		t.Errorf("a removed node campaigns: %s", brief(r))
	}
}

// Thesis 4.2.1 (M3): a learner answers a candidate that may know that it was
// promoted, and is not counted itself.
func TestALearnerVotesIfAsked(t *testing.T) {
	net := newNetwork(2, 1, nil)
	r := net.node(3).core
	step(t, r, wire.PeerMessage{Type: wire.FrameVote, From: 1, Term: 2})
	if m := only(t, flush(r), wire.FrameVoteReply); m.Reject {
		t.Errorf("%+v", m)
	}
	cand := net.node(1).core
	net.campaign(net.node(1))
	step(t, cand, wire.PeerMessage{Type: wire.FramePreVoteReply, From: 3, Term: 1})
	if cand.role != PreCandidate {
		t.Errorf("a learner's pre-vote counted: %s", brief(cand))
	}
}

// Section 8: "a leader must have the latest information on which entries are
// committed ... each leader commits a blank no-op entry at the start of its term".
func TestALeaderStartsItsTermWithANoop(t *testing.T) {
	net := newNetwork(3, 0, nil)
	r := net.node(1).core
	r.SetStamp(77)
	newLeader(net)
	e, err := wire.ParseEntry(r.Entries(1, 2, 0))
	if err != nil || e.Type != wire.EntryNoop || e.Term != r.term {
		t.Fatalf("%+v, %v", e, err)
	}
	if at, err := e.Time(); at != 77 || err != nil {
		t.Errorf("time %d, %v", at, err)
	}
}

// DESIGN: a sole voter campaigns at once.
func TestASoleVoterLeadsAfterItsFirstSync(t *testing.T) {
	net := newNetwork(1, 0, nil)
	net.settle()
	if r := net.node(1).core; r.role != Leader || r.Commit() != 1 {
		t.Error(brief(r))
	}
	net.node(1).crash()
	if err := net.node(1).start(false); err != nil {
		t.Fatal(err)
	}
	net.settle()
	if r := net.node(1).core; r.role != Leader || r.term != 2 || r.Commit() != 2 {
		t.Error(brief(r))
	}
	read, err := net.node(1).core.ReadIndex()
	net.settle()
	if err != nil || net.node(1).core.Confirmed() < read.Round {
		t.Errorf("%v, confirmed %d of %d", err, net.node(1).core.Confirmed(), read.Round)
	}
}

func TestProposalsBeyondTheLimitAreRefusedBeforeTheyAreAppended(t *testing.T) {
	net := newNetwork(3, 0, func(c *Config) { c.MaxUncommittedBytes = 200 })
	r := net.elect(1).core
	n := 0
	for ; n < 100; n++ {
		if _, err := net.propose(1, "x"); errors.Is(err, ErrBusy) {
			break
		}
	}
	if n != 3 || r.log.last != 4 {
		t.Errorf("%d proposals of 61 bytes fit into 200, last %d", n, r.log.last)
	}
	net.settle()
	if _, err := net.propose(1, "x"); err != nil {
		t.Errorf("after commit: %v", err)
	}
}

func TestReservedMessagesAreIgnoredAndNonsenseIsRefused(t *testing.T) {
	f := func(m wire.PeerMessage, nonsense bool) {
		t.Helper()
		r := newNetwork(3, 0, nil).elect(1).core
		before := r.Status()
		if err := r.Step(&m); errors.Is(err, ErrNonsense) != nonsense || r.Status() != before {
			t.Errorf("%+v: %v, %+v became %+v", m, err, before, r.Status())
		}
	}
	f(wire.PeerMessage{Type: wire.FrameTimeoutNow, From: 2, Term: 9}, false)
	f(wire.PeerMessage{Type: wire.FrameSnapshot, From: 2, Term: 9}, false)
	f(wire.PeerMessage{Type: wire.FrameWrite, From: 2, Term: 9}, true)
	f(wire.PeerMessage{Type: wire.FrameRound, From: 0, Term: 9}, true)
	f(wire.PeerMessage{Type: wire.FrameRound, From: 1, Term: 9}, true)
	f(wire.PeerMessage{Type: wire.FrameRound, From: 2, Term: 0}, true)
	f(wire.PeerMessage{Type: wire.FrameRound, From: 2, Term: 1}, true) // a second leader
	f(wire.PeerMessage{Type: wire.FrameAppend, From: 2, Term: 1}, true)
	f(wire.PeerMessage{Type: wire.FrameAppend, From: 2, Term: 2, Index: 1}, true)                          // entry of term 0
	f(wire.PeerMessage{Type: wire.FrameAppend, From: 2, Term: 2, Entries: entry(1, 2)}, true)              // contradicts a committed one
	f(wire.PeerMessage{Type: wire.FrameAppend, From: 2, Term: 2, Entries: entry(2, 1)}, true)              // a gap
	f(wire.PeerMessage{Type: wire.FrameAppend, From: 2, Term: 2, Entries: entry(1, 1)[:30]}, true)         // cut short
	f(wire.PeerMessage{Type: wire.FrameAppendReply, From: 2, Term: 1, Index: 7}, true)                     // beyond the log
	f(wire.PeerMessage{Type: wire.FrameRoundReply, From: 2, Term: 1, Round: 9}, true)                      // not begun
	f(wire.PeerMessage{Type: wire.FrameAppendReply, From: 9, Term: 1, Index: 7}, false)                    // not a member
	f(wire.PeerMessage{Type: wire.FramePreVote, From: 2, Term: 1 << 63, Index: 1 << 63, LogTerm: 9}, true) // beyond any term
	f(wire.PeerMessage{Type: wire.FrameVote, From: 2, Term: 1 << 63}, true)
	f(wire.PeerMessage{Type: wire.FrameVote, From: 2, Term: 2, Index: maxIndex + 1}, true)
	f(wire.PeerMessage{Type: wire.FrameAppend, From: 2, Term: 2, Index: 1, LogTerm: 3}, true) // of a later term
	f(wire.PeerMessage{Type: wire.FrameRoundReply, From: 2, Term: maxTerm + 1}, true)
	f(wire.PeerMessage{Type: wire.FrameAppendReply, From: 2, Term: 1, Index: maxIndex + 1}, true)
	f(wire.PeerMessage{Type: wire.FrameVote, From: 2, Term: 1 << 40}, true)                           // a leap, while the leader is alive
	f(wire.PeerMessage{Type: wire.FramePreVoteReply, From: 2, Term: 1 << 40}, true)                   // a promise moves nobody
	f(wire.PeerMessage{Type: wire.FramePreVote, From: 2, Term: maxTerm, Index: 9, LogTerm: 9}, false) // nor does a question
}
