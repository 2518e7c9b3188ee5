package raft

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/dnode-engine/dnode/wire"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "run only this seed of the random cluster test")
	seedsFlag = flag.Uint64("seeds", 200, "how many seeds the random cluster test runs")
)

var errRead = errors.New("cannot read")

// history is what the checkers remember of a run.
type history struct {
	leaders   map[wire.Term]wire.NodeID // election safety
	committed []stored                  // the one true log: index i at [i-1]
	commitAt  []wire.Term               // the leader's term when it was first seen committed
	reads     []openRead
	served    int
}

type openRead struct {
	node   wire.NodeID
	ticket Read
	floor  wire.Index // highest index committed anywhere when the read arrived
}

// chaos drives a network with seeded faults: messages are lost, repeated and
// reordered; nodes crash, lose what is not durable, and restart; disks are
// slow; links are cut; voters change.
type chaos struct {
	*network
	t    *testing.T
	rng  *rand.Rand
	hist history
	seed uint64

	// A fresh leader is the most interesting victim: in doomPercent of all
	// elections the winner crashes or is cut off a few steps later.
	doomPercent int
	doomed      *node
	doomLeft    int
}

func (c *chaos) fail(format string, args ...any) {
	c.t.Helper()
	c.t.Fatalf("seed %d: %s", c.seed, fmt.Sprintf(format, args...))
}

func TestRandomClustersStaySafe(t *testing.T) {
	first, last := uint64(1), *seedsFlag
	if *seedFlag != 0 {
		first, last = *seedFlag, *seedFlag
	}
	commits, reads := 0, 0
	for seed := first; seed <= last; seed++ {
		c := &chaos{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1))}
		c.hist.leaders = map[wire.Term]wire.NodeID{}
		storm := c.rng.IntN(2) == 0 // many short leaderships over old entries
		small := storm || c.rng.IntN(2) == 0
		voters := []int{3, 3, 3, 5}[c.rng.IntN(4)]
		if storm {
			voters = 3
		}
		c.network = newNetwork(voters, c.rng.IntN(2), func(cfg *Config) {
			cfg.Seed = seed
			cfg.TailBytes = []int{1 << 10, 1 << 20}[c.rng.IntN(2)]
			cfg.MaxUncommittedBytes = []int{1, 1 << 20}[c.rng.IntN(2)]
			if small { // one entry in a message: what figure 8 needs
				cfg.MaxAppendBytes, cfg.MaxInflightBytes = 1, 1
			}
		})
		c.late = c.rng.IntN(2) == 0
		c.doomPercent = []int{0, 30, 80}[c.rng.IntN(3)]
		if storm {
			c.doomPercent = 80
			c.scar()
		}
		c.run()
		commits += len(c.hist.committed)
		reads += c.hist.served
	}
	t.Logf("%d entries committed, %d reads served", commits, reads)
	if last-first >= 50 && (commits < 1000 || reads < 300) {
		t.Errorf("the runs did too little to prove anything")
	}
}

func (c *chaos) run() {
	for range 4000 {
		c.step()
		c.doom()
		c.check()
	}
	c.heal()
}

// scar starts the run from the state of Raft figure 8 (b): two leaders in turn
// wrote an entry that nobody else got. Random runs rarely come there by themselves.
func (c *chaos) scar() {
	order := c.rng.Perm(len(c.nodes))
	for k, at := range order {
		id := c.nodes[at].id
		switch k {
		case 0:
			c.preload(id, 3, 1, 2)
		case 1:
			c.preload(id, 3, 1, 3)
		default:
			c.preload(id, 3, 1)
		}
	}
}

// step makes one random thing happen.
func (c *chaos) step() {
	n := c.nodes[c.rng.IntN(len(c.nodes))]
	switch p := c.rng.IntN(1000); {
	case n.core == nil && p < 15:
		c.restart(n)
	case n.hang && p < 60:
		n.hang = false
	case p < 4:
		c.crashOne(n)
	case p < 5:
		n.hang = true
	case p < 8:
		c.cutOne()
	case p < 11:
		c.cuts = nil
	case p < 18:
		c.changeMembers(n)
	case p < 22: // a timer that is early; the others' stickiness has to hold
		if n.core != nil && n.core.role != Leader {
			n.core.elapsed = n.core.timeout
		}
	case p < 80:
		c.network.now += int64(c.rng.IntN(2)) * tickNanos / 4
		c.tickAll()
	case p < 120:
		c.work(n)
	case p < 450:
		c.activate(n)
	case p < 640:
		if n.core != nil {
			c.sync(n, 1+c.rng.IntN(2))
		}
	default:
		for range 1 + c.rng.IntN(6) {
			c.message()
		}
	}
	if n.core != nil {
		c.observe(n)
	}
}

func (c *chaos) crashOne(n *node) {
	if n.core == nil {
		return
	}
	// A prefix of what was on its way may have reached the disk.
	for _, op := range n.ops[:c.rng.IntN(len(n.ops)+1)] {
		n.persist(op)
	}
	n.crash()
}

// doom lets the fate of a fresh leader come true.
func (c *chaos) doom() {
	if c.doomed == nil {
		return
	}
	if c.doomLeft--; c.doomLeft > 0 {
		return
	}
	n := c.doomed
	c.doomed = nil
	if c.rng.IntN(2) == 0 {
		c.crashOne(n)
		return
	}
	for _, o := range c.nodes {
		c.cuts = append(c.cuts, [2]wire.NodeID{n.id, o.id}, [2]wire.NodeID{o.id, n.id})
	}
}

func (c *chaos) restart(n *node) {
	if err := n.start(!n.voted && len(n.log) == 0); err != nil {
		c.fail("node %d does not start: %v", n.id, err)
	}
	n.core.SetNow(c.now)
}

func (c *chaos) cutOne() {
	a, b := c.nodes[c.rng.IntN(len(c.nodes))].id, c.nodes[c.rng.IntN(len(c.nodes))].id
	c.cuts = append(c.cuts, [2]wire.NodeID{a, b}) // one way
	if c.rng.IntN(2) == 0 {
		c.cuts = append(c.cuts, [2]wire.NodeID{b, a})
	}
}

// changeMembers takes a random legal or illegal step of joint consensus.
func (c *chaos) changeMembers(n *node) {
	if n.core == nil || n.core.role != Leader {
		return
	}
	cur, _ := n.core.Membership()
	m, was := *cur, *cur
	m.Members = slices.Clone(cur.Members)
	m.Outgoing = nil
	if len(cur.Outgoing) == 0 {
		for _, mb := range cur.Members {
			if mb.Role == wire.Voter {
				m.Outgoing = append(m.Outgoing, mb.ID)
			}
		}
		k := c.rng.IntN(len(m.Members))
		m.Members[k].Role = wire.Voter + wire.Learner - m.Members[k].Role
	}
	if c.rng.IntN(4) == 0 { // what may not follow
		k := c.rng.IntN(len(m.Members))
		m.Members[k].Role = wire.Voter + wire.Learner - m.Members[k].Role
		if id := m.Members[c.rng.IntN(len(m.Members))].ID; len(m.Outgoing) > 0 && !slices.Contains(m.Outgoing, id) {
			m.Outgoing = append(m.Outgoing, id)
			slices.Sort(m.Outgoing)
		}
	}
	if m.Check() != nil {
		return
	}
	if _, err := c.proposeConfig(n.id, m); err == nil && !mayFollow(&was, &m) {
		c.fail("leader %d lets %+v follow on %+v", n.id, m, was)
	}
}

// mayFollow: between two configurations that follow on each other the voters are
// the same, or both majorities are asked in one of them: thesis 4.3.
func mayFollow(a, b *wire.Membership) bool {
	same := slices.Equal(voterIDs(a), voterIDs(b))
	switch {
	case len(a.Outgoing) == 0 && len(b.Outgoing) > 0:
		return slices.Equal(b.Outgoing, voterIDs(a))
	case len(a.Outgoing) > 0:
		return same && len(b.Outgoing) == 0
	}
	return same
}

func voterIDs(m *wire.Membership) []wire.NodeID {
	var ids []wire.NodeID
	for _, mb := range m.Members {
		if mb.Role == wire.Voter {
			ids = append(ids, mb.ID)
		}
	}
	return ids
}

// work proposes and reads.
func (c *chaos) work(n *node) {
	if n.core == nil {
		return
	}
	if _, err := c.propose(n.id, fmt.Sprint(c.rng.Uint32())); err != nil {
		return
	}
	if ticket, err := n.core.ReadIndex(); err == nil {
		c.hist.reads = append(c.hist.reads, openRead{n.id, ticket, wire.Index(len(c.hist.committed))})
	}
}

func (c *chaos) activate(n *node) {
	if n.core == nil {
		return
	}
	c.ready(n)
	if len(n.asked) > 0 && c.rng.IntN(4) == 0 {
		n.answer(1, []error{nil, nil, nil, errRead}[c.rng.IntN(4)])
	}
	if i := n.core.Commit(); c.rng.IntN(2) == 0 {
		n.core.Applied(i)
	}
	if c.rng.IntN(100) == 0 {
		n.core.PeerDown(c.nodes[c.rng.IntN(len(c.nodes))].id)
	}
}

// message delivers, repeats or loses one message, mostly an old one.
func (c *chaos) message() {
	if len(c.msgs) == 0 {
		return
	}
	k := 0
	if c.rng.IntN(3) == 0 {
		k = c.rng.IntN(len(c.msgs))
	}
	switch p := c.rng.IntN(100); {
	case p < 3:
		c.msgs = slices.Delete(c.msgs, k, k+1)
		return
	case p < 6:
		c.msgs = append(c.msgs, c.msgs[k])
	}
	m := c.msgs[k]
	c.msgs = slices.Delete(c.msgs, k, k+1)
	to := c.node(m.To)
	if to.core == nil || slices.Contains(c.cuts, [2]wire.NodeID{m.From, m.To}) {
		return
	}
	if err := to.core.Step(&m); err != nil {
		c.fail("step of %s: %v", describe(&m), err)
	}
	c.observe(to)
}

// observe checks one node after an event.
func (c *chaos) observe(n *node) {
	r := n.core
	if r.role == Leader {
		if other, ok := c.hist.leaders[r.term]; ok && other != n.id {
			c.fail("term %d has leaders %d and %d", r.term, other, n.id)
		}
		if _, ok := c.hist.leaders[r.term]; !ok {
			c.hist.leaders[r.term] = n.id
			c.checkCompleteness(n)
			if c.rng.IntN(100) < c.doomPercent {
				c.doomed, c.doomLeft = n, c.rng.IntN(80)
			}
		}
		c.checkLease(n)
		c.serveReads(n)
	}
	for i := wire.Index(len(c.hist.committed)) + 1; i <= r.log.commit; i++ {
		c.hist.committed = append(c.hist.committed, c.entry(n, i))
		c.hist.commitAt = append(c.hist.commitAt, r.term)
	}
}

// entry returns entry i of a node, from memory or else from its disk.
func (c *chaos) entry(n *node, i wire.Index) stored {
	b := n.core.Entries(i, i+1, 0)
	if b == nil {
		if int(i) > len(n.log) {
			c.fail("node %d: entry %d is neither in memory nor on the disk", n.id, i)
		}
		return n.log[i-1]
	}
	return parseStored(b)[0]
}

// checkCompleteness: a new leader holds every entry that was committed.
func (c *chaos) checkCompleteness(n *node) {
	for k, e := range c.hist.committed {
		if t, _ := n.core.log.term(e.index); t != e.term && c.hist.commitAt[k] < n.core.term {
			c.fail("leader %d of term %d has term %d at committed %d/t%d", n.id, n.core.term, t, e.index, e.term)
		}
	}
}

// checkLease: while a leader holds a lease, no other node leads a later term.
func (c *chaos) checkLease(n *node) {
	for _, o := range c.nodes {
		if o.core != nil && o.core.role == Leader && o.core.term < n.core.term && c.now < o.core.LeaseUntil() {
			c.fail("node %d leads term %d at %d, lease of %d in term %d lasts until %d", n.id, n.core.term, c.now, o.id, o.core.term, o.core.LeaseUntil())
		}
	}
}

// serveReads: a confirmed read sees everything that was committed before it.
func (c *chaos) serveReads(n *node) {
	c.hist.reads = slices.DeleteFunc(c.hist.reads, func(rd openRead) bool {
		if rd.node != n.id {
			return false
		}
		if n.core.term != rd.ticket.Term {
			return true
		}
		if n.core.Confirmed() < rd.ticket.Round {
			return false
		}
		if rd.ticket.Index < rd.floor {
			c.fail("read at node %d of term %d sees %d, %d was committed before it", n.id, rd.ticket.Term, rd.ticket.Index, rd.floor)
		}
		c.hist.served++
		return true
	})
}

// check compares all nodes: log matching, and committed entries on the disks of
// a majority.
func (c *chaos) check() {
	for _, n := range c.nodes {
		if n.core == nil {
			continue
		}
		if n.core.log.commit > wire.Index(len(c.hist.committed)) {
			c.observe(n)
		}
		if l := &n.core.log; l.memFirst > l.durable+1 {
			c.fail("node %d has entries from %d in memory, durable %d", n.id, l.memFirst, l.durable)
		}
		c.checkMatch(n)
		c.checkConfigs(n)
		for i := wire.Index(1); i <= n.core.log.commit; i++ {
			if e := c.hist.committed[i-1]; i+3 > n.core.log.commit {
				if got := c.entry(n, i); got.term != e.term || !bytes.Equal(got.data, e.data) {
					c.fail("node %d committed %d/t%d, another t%d", n.id, i, got.term, e.term)
				}
			}
		}
	}
	if k := len(c.hist.committed); k > 0 && c.rng.IntN(8) == 0 {
		c.checkDurable(c.hist.committed[k-1])
		c.checkDurable(c.hist.committed[c.rng.IntN(k)])
	}
}

// checkMatch: what a leader believes of a peer's disk is there, but for a peer
// that has entered a later term.
func (c *chaos) checkMatch(n *node) {
	if n.core.role != Leader {
		return
	}
	for i := range n.core.peers {
		p := &n.core.peers[i]
		o := c.node(p.id)
		if p.match == 0 || o.vote.Term > n.core.term {
			continue
		}
		if t, _ := n.core.log.term(p.match); int(p.match) > len(o.log) || o.log[p.match-1].term != t {
			c.fail("leader %d of term %d believes that %d has entry %d/t%d, it has %s", n.id, n.core.term, p.id, p.match, t, entryList(o.log))
		}
	}
}

// checkConfigs: the configuration in force is that of the newest configuration
// entry in the log, and those that a truncation could bring back are known.
func (c *chaos) checkConfigs(n *node) {
	r := n.core
	if r.changes == n.changes && r.log.last == n.checked {
		return
	}
	n.changes, n.checked = r.changes, r.log.last
	k := len(r.configs) - 1
	for i := r.log.last; i > 0 && i >= r.log.first; i-- {
		if wire.EntryType(c.entry(n, i).data[4]) != wire.EntryConfig {
			continue
		}
		if k < 0 || r.configs[k].Index != i {
			c.fail("node %d: configuration %d of its log is not among %v", n.id, i, r.configs)
		}
		if k--; i <= r.log.commit {
			return
		}
	}
	if k != 0 || r.configs[0].Index != 0 {
		c.fail("node %d: the configuration to begin with is not among %v", n.id, r.configs)
	}
}

// checkDurable: a committed entry is on the disks of enough nodes that no
// quorum can form without one. Membership changes flip one role at a time, so
// that a majority of all members is not the measure: one disk always is, and
// with fixed members a majority.
func (c *chaos) checkDurable(e stored) {
	have := 0
	for _, n := range c.nodes {
		if int(e.index) <= len(n.log) && n.log[e.index-1].term == e.term {
			have++
		}
	}
	voters := c.fixedVoters()
	if voters > 0 && have < voters/2+1 || have == 0 {
		c.fail("committed entry %d/t%d is on %d disks of %d voters", e.index, e.term, have, voters)
	}
}

// fixedVoters returns the number of voters if the configuration never changed.
func (c *chaos) fixedVoters() int {
	voters := 0
	for _, n := range c.nodes {
		if n.core != nil && n.core.configs[0].Index+n.core.configs[len(n.core.configs)-1].Index > 0 {
			return 0
		}
		for _, e := range n.log {
			if wire.EntryType(e.data[4]) == wire.EntryConfig {
				return 0
			}
		}
	}
	for _, m := range c.nodes[0].boot.Members {
		if m.Role == wire.Voter {
			voters++
		}
	}
	return voters
}

// heal ends all faults: the cluster must elect a leader, commit and agree.
func (c *chaos) heal() {
	c.cuts = nil
	for _, n := range c.nodes {
		n.hang = false
		if n.core == nil {
			c.restart(n)
		}
	}
	for range 400 {
		c.tickAll()
		c.settle()
		for _, n := range c.nodes {
			c.observe(n)
		}
		if l := c.leader(); l != nil && l.core.log.commit == l.core.log.last && l.core.log.commit >= l.core.termStart {
			if same := !slices.ContainsFunc(c.nodes, func(n *node) bool {
				return n.core.find(n.id) != nil && l.core.find(n.id) != nil && n.core.log.commit != l.core.log.commit
			}); same {
				c.check()
				return
			}
		}
	}
	for _, n := range c.nodes {
		c.t.Logf("node %d: %s durable %d, %s", n.id, brief(n.core), n.core.log.durable, voters(n.core))
	}
	c.fail("the cluster does not heal")
}

func (c *chaos) leader() *node {
	for _, n := range c.nodes {
		if n.core != nil && n.core.role == Leader {
			return n
		}
	}
	return nil
}
