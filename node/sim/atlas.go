package sim

import (
	"errors"
	"fmt"
	"strings"

	"github.com/dnode-engine/dnode/wal"
)

// atlas says what the nemesis may destroy. A correct cluster survives the loss of
// data on f = (n-1)/2 of its nodes. Nothing is repaired yet: a node whose start finds
// damage refuses, and is out whole. So the atlas counts nodes, not ranges of the
// log: what is struck anywhere is counted as lost for every range, and what is
// wiped too.
//
// What was done to the vote counts until both its slots are whole again.
type atlas struct {
	beyond bool // Options.Beyond: no budget, but a disk is still struck only once
	nodes  []struckNode
}

// struckNode is what was done to one node's data.
type struckNode struct {
	data bool   // log, identity or the whole disk; for ever
	vote bool   // until the vote is whole again
	life uint64 // in which the vote was struck
}

func (a *atlas) budget() int { return (len(a.nodes) - 1) / 2 }

// allows reports whether a node may lose data. Damage that takes a group together
// with all that speaks for it is excluded from what the log promises: hence once.
func (c *Cluster) allows(node int) bool {
	a := &c.atlas
	if s := &a.nodes[node]; s.data || c.voteStruck(node) {
		return false
	}
	lost := 1
	for i := range a.nodes {
		if i != node && (a.nodes[i].data || c.voteStruck(i)) {
			lost++
		}
	}
	return a.beyond || lost <= a.budget()
}

// voteStruck reports whether a node's vote is damaged, as far as the disk and the
// nemesis know, and forgets it if it is whole again.
func (c *Cluster) voteStruck(node int) bool {
	s, n := &c.atlas.nodes[node], c.nodes[node]
	if s.vote && n.up && n.life > s.life && !c.check.nodes[node].vote.Abstain {
		s.vote = false
	}
	return s.vote
}

// intact reports whether so many nodes are whole, and may vote, that the cluster must
// be available. One whose vote the nemesis has set back abstains until it hears a
// leader.
func (c *Cluster) intact() bool {
	able := 0
	for i, n := range c.nodes {
		silent := n.up && n.rep.Raft().Status().Abstaining && c.atlas.nodes[i].vote
		if n.out == nil && !silent {
			able++
		}
	}
	return !c.opt.Beyond && 2*able > len(c.nodes)
}

// errInjected is what a failing call returns. It passes with the next start.
var errInjected = errors.New("input/output error")

// notStarted decides what a start that failed means. A full disk, too few
// descriptors or a failing call pass: the process is started again. Damage is for
// ever, and must be told by name; it is no failure of the cluster if the nemesis
// did it.
func (n *node) notStarted(err error) error {
	n.up = false
	if wal.Passes(err) || errors.Is(err, errInjected) {
		n.c.stats.Disk.FailedStarts++
		n.c.at(retryNanos, event{kind: evRestart, node: n.index})
		return nil
	}
	s := &n.c.atlas.nodes[n.index]
	vote := strings.Contains(err.Error(), "vote")
	named := vote || strings.Contains(err.Error(), "wal/") || strings.Contains(err.Error(), "identity")
	if !named || !s.data && !(s.vote && vote) {
		return fmt.Errorf("node %d does not start: %w", n.id, err)
	}
	n.out = err
	n.c.stats.Disk.RefusedByName++
	n.c.say(n.index, "is out: %v", err)
	return nil
}

// mayFence checks a fence: a disk that nobody touched is no reason for one.
func (n *node) mayFence(err error) error {
	if n.faulty || n.c.atlas.nodes[n.index].data {
		return nil
	}
	return fmt.Errorf("node %d is fenced: %w", n.id, err)
}

// mayFail checks a call that failed: something must have made it fail.
func (n *node) mayFail(err error) error {
	if wal.Passes(err) {
		return nil
	}
	return n.mayFence(err)
}

// repair ends all faults of a node's disk. What was struck, and nobody has seen
// yet, a restart shows.
func (c *Cluster) repair(n *node) {
	n.fs.ClearRules()
	switch s := c.atlas.nodes[n.index]; {
	case n.out != nil:
	case !n.up:
		n.start()
	case n.fenced || s.data || s.vote:
		c.crash(n, &Fault{Kind: FaultPower, Nanos: 50 * millisecond, Seed: c.opt.Seed})
	case n.hung:
		n.diskBack(true)
	}
}

// lingerNanos is how long a cluster that need not be available has, after all
// faults have ended, to do something wrong.
const lingerNanos = 5 * second

// errMayBeDown is what keeps such a cluster from having settled.
var errMayBeDown = errors.New("the cluster has lost more than it can: it need not settle")

// witness returns a node that has applied all that was committed. There may be none
// if too many are out, though one leads.
func (c *Cluster) witness() *node {
	for _, n := range c.nodes {
		if n.up && int(n.rep.Applied()) == len(c.check.committed) {
			return n
		}
	}
	return nil
}

// behind is for how long the disk has not returned from writing entries.
func (n *node) behind() int64 {
	if n.since[0] == 0 {
		return 0
	}
	return n.c.now - n.since[0]
}
