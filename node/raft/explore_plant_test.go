package raft

import (
	"strings"
	"testing"

	"github.com/dnode-engine/dnode/wire"
)

// plant is a defect: what is done to a node besides what it does by itself.
type plant struct {
	onEvent func(r *Raft, kind eventKind, m *wire.PeerMessage) // before an event
	onReady func(n *node, kind eventKind)                      // after it
	onSend  func(r *Raft, m *wire.PeerMessage)
}

func (p *plant) before(n *node, kind eventKind, m *wire.PeerMessage) {
	if p.onEvent != nil && n.core != nil {
		p.onEvent(n.core, kind, m)
	}
}

func (p *plant) after(n *node, kind eventKind) {
	if p.onReady != nil {
		p.onReady(n, kind)
	}
}

func (p *plant) sent(n *node, m *wire.PeerMessage) {
	if p.onSend != nil {
		p.onSend(n.core, m)
	}
}

// planted is a defect that a core could have, a scope that shows it and the
// property that breaks.
type planted struct {
	scope  scope
	breaks string
	plant  plant
}

func plantedVotes() []planted {
	return []planted{
		{scope{name: "votes twice in a term", budget: budget{timeouts: 2}}, "its disk had vote", plant{
			onEvent: func(r *Raft, kind eventKind, m *wire.PeerMessage) {
				if kind == evDeliver && m.Type == wire.FrameVote && m.Term == r.term && r.role == Follower {
					r.vote = 0
				}
			},
		}},
		{scope{name: "forgets its vote in a crash", inline: true, budget: budget{timeouts: 2, crashes: 1}}, "its disk had vote", plant{
			onReady: func(n *node, kind eventKind) {
				if kind == evRestart {
					n.core.vote = 0
				}
			},
		}},
		{scope{name: "answers before its vote is durable", budget: budget{timeouts: 1}}, "says", plant{
			onEvent: func(r *Raft, _ eventKind, _ *wire.PeerMessage) { r.voteSeq = 0 },
			onReady: func(n *node, _ eventKind) {
				r := n.core
				for _, w := range r.waiting {
					r.out = append(r.out, w.m)
				}
				r.waiting = nil
			},
		}},
		{scope{name: "votes for a log that is behind", vote: 3, terms: scarred, inline: true, budget: budget{timeouts: 2}}, "leader completeness", plant{
			onEvent: func(r *Raft, kind eventKind, m *wire.PeerMessage) {
				if kind == evDeliver && m.Type == wire.FrameVote {
					m.LogTerm = maxTerm
				}
			},
		}},
	}
}

var (
	scarred = [3]string{"12", "13", "1"} // figure 8 (b)
	behind  = [3]string{"1", "13", "1"}  // 2 has an entry that nobody else will get
)

func plantedCommits() []planted {
	return []planted{
		{scope{name: "commits older terms by counting", vote: 3, terms: scarred, inline: true, budget: budget{timeouts: 2}}, "leader completeness", plant{
			onEvent: func(r *Raft, _ eventKind, _ *wire.PeerMessage) { r.termStart = min(r.termStart, 1) },
		}},
		{scope{name: "counts what its own disk does not have", budget: budget{timeouts: 1}}, "durability", plant{
			onReady: func(n *node, _ eventKind) {
				if r := n.core; r.role == Leader {
					r.find(r.cfg.ID).match = r.log.last
				}
			},
		}},
		{scope{name: "follows the commit index to its last entry", vote: 3, terms: behind, inline: true, budget: budget{timeouts: 1, downs: 1}}, "state machine safety", plant{
			onEvent: func(r *Raft, kind eventKind, m *wire.PeerMessage) {
				if kind == evDeliver && m.Type == wire.FrameAppend && r.log.matches(m.Index, m.LogTerm) && m.Term >= r.term {
					r.log.commit = max(r.log.commit, min(m.Commit, r.log.last))
				}
			},
		}},
		{scope{name: "tells more than it knows the peer to have", vote: 3, terms: behind, inline: true, rounds: true, budget: budget{timeouts: 1, beats: 1}}, "state machine safety", plant{
			onSend: func(r *Raft, m *wire.PeerMessage) {
				if m.Type == wire.FrameRound {
					m.Commit = r.log.commit
				}
			},
			onEvent: func(r *Raft, kind eventKind, m *wire.PeerMessage) { // which the follower believes
				if kind == evDeliver && m.Type == wire.FrameRound && m.Term >= r.term {
					r.log.commit = max(r.log.commit, min(m.Commit, r.log.last))
				}
			},
		}},
	}
}

func plantedLogs() []planted {
	return []planted{
		{scope{name: "acknowledges beyond what it verified", vote: 3, terms: behind, inline: true, budget: budget{timeouts: 1, downs: 1}}, "acknowledgement", plant{
			onReady: func(n *node, _ eventKind) {
				if r := n.core; r.follow.verified > 0 {
					r.follow.verified = r.log.last
				}
			},
		}},
		{scope{name: "counts a completion for an entry that took another's place", budget: budget{timeouts: 2}}, "says", plant{
			onReady: func(n *node, _ eventKind) {
				r := n.core
				for i := range r.log.batches {
					for _, op := range n.ops {
						if b := &r.log.batches[i]; op.seq == b.seq && len(op.entries) > 0 {
							b.last = max(b.last, min(r.log.last, op.entries[len(op.entries)-1].index))
						}
					}
				}
			},
		}},
		{scope{name: "does not compare the entry before", vote: 3, terms: scarred, inline: true, budget: budget{timeouts: 1}}, "acknowledgement", plant{
			onEvent: func(r *Raft, kind eventKind, m *wire.PeerMessage) {
				if t, ok := r.log.term(m.Index); kind == evDeliver && m.Type == wire.FrameAppend && ok {
					m.LogTerm = t
				}
			},
		}},
		{scope{name: "acknowledges what it has in memory", budget: budget{timeouts: 1}}, "says", plant{
			onReady: func(n *node, _ eventKind) { n.core.log.durable = n.core.log.last },
		}},
	}
}

func plantedReads() []planted {
	return []planted{
		{scope{name: "takes an old answer for one to this round", begin: leading, inline: true, rounds: true, budget: budget{timeouts: 1, reads: 1}}, "read", plant{
			onEvent: func(r *Raft, kind eventKind, m *wire.PeerMessage) {
				if kind == evDeliver && m.Type == wire.FrameRoundReply && r.role == Leader && m.Term == r.term {
					m.Round = r.rounds.last
				}
			},
		}},
		{scope{name: "confirms a round without an answer", begin: leading, inline: true, rounds: true, budget: budget{timeouts: 1, reads: 1}}, "read", plant{
			onReady: func(n *node, _ eventKind) { n.core.rounds.confirmed = n.core.rounds.last },
		}},
		{scope{name: "reads before it committed in its term", inline: true, rounds: true, budget: budget{timeouts: 2, reads: 1}}, "read", plant{
			onEvent: func(r *Raft, kind eventKind, _ *wire.PeerMessage) {
				if kind == evRead {
					r.termStart = 0
				}
			},
		}},
	}
}

// TestExplorerFindsPlantedDefects: the checkers can fail, and the scopes are not
// too small.
func TestExplorerFindsPlantedDefects(t *testing.T) {
	for _, list := range [][]planted{plantedVotes(), plantedCommits(), plantedLogs(), plantedReads()} {
		for _, p := range list {
			t.Run(strings.ReplaceAll(p.scope.name, " ", "_"), func(t *testing.T) {
				p.scope.plant, p.scope.states = p.plant, 1_000_000
				x := explore(&p.scope)
				t.Logf("%d states, depth %d\n%s", x.seen.n, x.depth, x.fault)
				if !strings.HasPrefix(x.fault, p.breaks) {
					t.Errorf("want %q", p.breaks)
				}
			})
		}
	}
}
