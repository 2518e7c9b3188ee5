package sim

import (
	"fmt"
	"slices"

	"github.com/dnode-engine/dnode/node/raft"
	"github.com/dnode-engine/dnode/wire"
)

// sent checks what a node tells another.
func (k *checker) sent(n *node, to int, b []byte) error {
	t := &k.nodes[n.index]
	for len(b) > 0 {
		f, err := wire.ParseFrame(b, wire.MaxAppendBytes)
		if err != nil {
			return fmt.Errorf("node %d sends a bad frame: %w", n.id, err)
		}
		m, err := wire.ParsePeer(f)
		if err != nil {
			return fmt.Errorf("node %d sends a bad message: %w", n.id, err)
		}
		b, m.To = b[f.Size:], wire.NodeID(to+1)
		if m.Type == wire.FramePreVote {
			n.c.canvassed(n)
			continue // speaks of a term that nobody has entered
		}
		if m.Type == wire.FramePreVoteReply && !m.Reject { // likewise
			if err := k.bound(n); err != nil {
				return err
			}
			continue
		}
		if m.Term > t.told.Term {
			t.told = wire.Vote{Term: m.Term}
		}
		if err := k.said(n, &m); err != nil {
			return err
		}
	}
	return nil
}

// said checks what a message promises against the sender's disk: its term is
// there, a vote is there, and so is every entry that it acknowledges. What it
// says is committed, is.
func (k *checker) said(n *node, m *wire.PeerMessage) error {
	if t := &k.nodes[n.index]; t.vote.Term < m.Term {
		return fmt.Errorf("durability: node %d speaks in term %d, its disk knows term %d", n.id, m.Term, t.vote.Term)
	}
	if int(m.Commit) > len(k.committed) {
		return fmt.Errorf("commit: node %d says that %d is committed, %d is", n.id, m.Commit, len(k.committed))
	}
	switch {
	case m.Type == wire.FrameVote:
		n.c.campaigned(n)
		if err := k.faithful(n, m.Term); err != nil {
			return err
		}
		return k.voted(n, m.Term, n.id)
	case m.Type == wire.FrameVoteReply && !m.Reject:
		if err := k.bound(n); err != nil {
			return err
		}
		if err := k.fitToLead(n, m); err != nil {
			return err
		}
		if err := k.faithful(n, m.Term); err != nil {
			return err
		}
		return k.voted(n, m.Term, m.To)
	case m.Type == wire.FrameAppendReply && !m.Reject && n.rep.Raft().Term() == m.Term:
		return k.acknowledged(n, m)
	case m.Type == wire.FrameAppendReply:
		n.c.sawIf(m.Index > 0, ConflictBackOff)
		n.c.sawIf(m.Index == 0, LeftBehind)
	case m.Type == wire.FrameRound:
		k.beat(n, m)
		if at := (roundPos{m.Term, m.Round}); k.rounds[at] == 0 {
			k.rounds[at] = n.c.now
		}
	case m.Type == wire.FrameRoundReply && m.Round > 0:
		k.nodes[n.index].heard = n.c.now
		k.promised(n, roundPos{m.Term, m.Round})
	}
	return nil
}

// promise is what the answer to a round binds a node to: to vote in no later term
// before the lease ends that it may have confirmed.
type promise struct {
	term  wire.Term
	until int64
}

// promised notes the promise behind an answer, and forgets those that are over.
func (k *checker) promised(n *node, at roundPos) {
	t := &k.nodes[n.index]
	t.promises = slices.DeleteFunc(t.promises, func(p promise) bool {
		return p.until <= n.c.now || p.term == at.term && p.until <= k.rounds[at]+n.c.opt.LeaseNanos
	})
	if began, ok := k.rounds[at]; ok {
		t.promises = append(t.promises, promise{at.term, began + n.c.opt.LeaseNanos})
	}
}

// faithful checks a vote, for itself or another, against what the node promised.
func (k *checker) faithful(n *node, term wire.Term) error {
	for _, p := range k.nodes[n.index].promises {
		if p.term < term && n.c.now < p.until && n.c.honestClocks() {
			return fmt.Errorf("lease: node %d votes in term %d, %d ms before a lease ends that it may have confirmed in term %d", n.id, term, (p.until-n.c.now)/millisecond, p.term)
		}
	}
	return nil
}

// bound checks a vote or the promise of one: a node that has just come back gives
// none, for it may have confirmed a lease.
func (k *checker) bound(n *node) error {
	t := &k.nodes[n.index]
	if age := n.c.now - t.born; t.restarted && n.c.honestClocks() && age < n.c.opt.LeaseNanos {
		return fmt.Errorf("restart silence: node %d came back %d ms ago and votes", n.id, age/millisecond)
	}
	return nil
}

// fitToLead checks a vote: the candidate's log ends no earlier than the voter's.
// What the voter has of the term itself came after it had voted.
func (k *checker) fitToLead(n *node, m *wire.PeerMessage) error {
	cand := n.c.nodes[m.To-1]
	if !cand.up || cand.term != m.Term || cand.role != raft.Candidate || n.rep.Raft().Term() != m.Term {
		return nil
	}
	mine, theirs := k.nodes[n.index].log, k.nodes[cand.index].log
	for lastTerm(mine) == m.Term {
		mine = mine[:len(mine)-1]
	}
	if a, b := lastTerm(mine), lastTerm(theirs); b < a || a == b && len(theirs) < len(mine) {
		return fmt.Errorf("election rule: node %d votes for %d, whose log ends at %d of term %d, before its own at %d of term %d", n.id, cand.id, len(theirs), b, len(mine), a)
	}
	return nil
}

func lastTerm(log []entryID) wire.Term {
	if len(log) == 0 {
		return 0
	}
	return log[len(log)-1].term
}

// quorum checks a leader at its ticks: one that cannot reach a majority does not
// go on leading.
func (k *checker) quorum(n *node) error {
	round := n.rep.Raft().Confirmed()
	if !n.rep.Leading() || round != n.round {
		n.round, n.heard = round, n.c.now
	}
	if len(n.c.nodes) > 1 && n.rep.Leading() && n.behind() > 2*n.c.opt.electionNanos()*11/10 {
		return fmt.Errorf("hanging disk: node %d leads, and its disk has not returned for %d ms", n.id, n.behind()/millisecond)
	}
	longest := leaderless * n.c.opt.electionNanos()
	if n.c.opt.TailDelay > 0 { // it hears answers from long ago
		longest += n.c.opt.TailFactor * millisecond
	}
	if n.c.now-n.heard > longest {
		return fmt.Errorf("check quorum: node %d leads, and had no majority for %d ms", n.id, (n.c.now-n.heard)/millisecond)
	}
	return nil
}

// leaderless is how many election timeouts a leader may be without a confirmed
// round: three times what it takes to notice.
const leaderless = 6

func (k *checker) voted(n *node, term wire.Term, candidate wire.NodeID) error {
	t := &k.nodes[n.index]
	if v := t.vote; v.Term == term && v.For != candidate {
		return fmt.Errorf("durability: node %d votes for %d in term %d, its disk knows a vote for %d", n.id, candidate, term, v.For)
	}
	if was, ok := k.votes[votePos{n.id, term}]; ok && was != candidate {
		return fmt.Errorf("election safety: node %d votes for %d and for %d in term %d", n.id, was, candidate, term)
	}
	k.votes[votePos{n.id, term}] = candidate
	if t.told.Term == term {
		t.told.For = candidate
	}
	return nil
}

// acknowledged checks an acknowledgement: the entries are synced, nothing that
// waits for the disk will take their place, and they are the leader's.
func (k *checker) acknowledged(n *node, m *wire.PeerMessage) error {
	t := &k.nodes[n.index]
	if int(m.Index) > len(t.disk) {
		return fmt.Errorf("durability: node %d acknowledges entry %d, its disk ends at %d", n.id, m.Index, len(t.disk))
	}
	for i := range t.pending {
		if p := &t.pending[i]; len(p.ids) > 0 && p.first <= m.Index {
			return fmt.Errorf("durability: node %d acknowledges entry %d, while entry %d is yet to be written", n.id, m.Index, p.first)
		}
	}
	lead := n.c.nodes[m.To-1]
	if m.Index == 0 || !lead.up || !lead.leads() || lead.term != m.Term {
		return nil
	}
	if log := k.nodes[lead.index].log; int(m.Index) > len(log) || log[m.Index-1] != t.disk[m.Index-1] {
		return fmt.Errorf("acknowledgement: node %d acknowledges entry %d to %d, and has another one", n.id, m.Index, lead.id)
	}
	return nil
}

// founded checks that an identity file names the one cluster that there is.
func (k *checker) founded(n *node) error {
	if k.cluster.IsZero() {
		k.cluster = n.cluster
	}
	if n.cluster != k.cluster {
		return fmt.Errorf("identity: node %d belongs to cluster %v, others to %v", n.id, n.cluster, k.cluster)
	}
	return nil
}

// recovers kills the leader of a settled cluster once more. Another must be
// found, and answer everybody, at first with reads only, so that no write helps
// it, and then with writes only.
func (k *checker) recovers(c *Cluster) {
	for _, d := range [...]demand{onlyReads, onlyWrites} {
		if c.err != nil || c.leaderNode() < 0 {
			return
		}
		c.strike(Fault{Kind: FaultKill, Node: c.leaderNode(), Nanos: 300 * millisecond})
		c.load.insist(d)
		c.settle()
	}
}
