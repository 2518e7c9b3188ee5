package client

import (
	"fmt"
	"time"

	"github.com/dnode-engine/dnode/wire"
)

// How the leader is found: from NotLeader answers, which name it, or else by
// asking nodes for their status — one first, all of them from the second round
// on. Calls that need the leader are parked meanwhile, so that finding it costs
// a few requests and not one per call.

// firstProbeWait is how long the first node asked may take to answer before
// the others are asked too.
const firstProbeWait = 50 * time.Millisecond

// maxProbeWait bounds the wait between two rounds. It is shorter than
// MaxBackoff: one round serves all callers, and an election takes about as long
// as MaxBackoff, so that the wait would double the outage. A node that cannot
// be reached is still left alone for up to MaxBackoff.
const maxProbeWait = 200 * time.Millisecond

// connected notes that a node has answered hello.
func (c *Client) connected() {
	select {
	case <-c.opened:
	default:
		close(c.opened)
	}
}

// sameCluster refuses a node of another cluster than the one first met. A
// cluster that is not founded yet has no id.
func (c *Client) sameCluster(id wire.ClusterID) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id.IsZero() {
		return nil
	}
	if !c.cluster.IsZero() && id != c.cluster {
		return errOther(id, c.cluster)
	}
	c.cluster = id
	return nil
}

// anyNode returns the node for reads that any node may answer. It stays the
// same until it fails, so that such reads do not jump back and forth in time.
func (c *Client) anyNode() *node {
	now := c.now()
	for i := range c.ring {
		n := c.ring[(c.any+i)%len(c.ring)]
		if !n.suspect() && n.retryAt <= now {
			c.any = (c.any + i) % len(c.ring)
			return n
		}
	}
	return c.ring[c.any]
}

// passOver moves stale reads away from a node that failed one.
func (c *Client) passOver(n *node) {
	if c.ring[c.any] == n {
		c.any = (c.any + 1) % len(c.ring)
	}
}

// notLeader forgets n as the leader.
func (c *Client) notLeader(n *node) {
	if n != nil && c.leader == n {
		c.leader = nil
		if c.wantsLeader() {
			c.seekLeader()
		}
	}
}

// follow takes a node's word that another one is the leader, unless what is
// known is newer than the word.
func (c *Client) follow(from, to *node) {
	if c.leader == nil || c.leader == from {
		c.lead(to)
	}
}

// usable reports whether a leader's address, as named by a node, can be
// followed.
func (c *Client) usable(leader string, from *node) bool {
	if leader == from.addr || checkAddr(leader) != nil {
		return false
	}
	n := c.nodes[leader]
	return n == nil || !n.suspect()
}

// lead makes n the leader and sends it all calls that waited for one. What a
// silent node still owes is not waited for any longer: it has been replaced.
func (c *Client) lead(n *node) {
	c.leader = n
	for _, other := range c.nodes {
		if other != n && other.suspect() {
			c.lost(other.conn, errReplaced)
		}
	}
	for q := c.parked.take(); q != nil; {
		next := q.at.next
		c.ask(n, q)
		q = next
	}
}

// seekLeader runs one round of questions and arranges for the next.
func (c *Client) seekLeader() {
	if c.probeArmed || c.closed {
		return
	}
	c.probeArmed = true
	wait := jitter(min(backoffAfter(c.probeRound), maxProbeWait))
	if c.probeRound == 0 {
		wait = firstProbeWait
		c.probe(c.anyNode())
	} else {
		c.probeAll()
	}
	c.probeRound++
	if c.probeTimer == nil {
		c.probeTimer = time.AfterFunc(wait, c.probeAgain)
		return
	}
	c.probeTimer.Reset(wait)
}

// probeAgain is what the probe timer runs.
func (c *Client) probeAgain() {
	c.mu.Lock()
	c.probeArmed = false
	if c.leader == nil && c.wantsLeader() {
		c.seekLeader()
	}
	c.unlock()
}

// wantsLeader reports whether anybody would gain from knowing the leader: calls
// that are parked, Open, or writes that a silent node may never answer.
func (c *Client) wantsLeader() bool {
	if c.parked.len > 0 || !c.isOpen() {
		return true
	}
	for _, n := range c.nodes {
		if n.suspect() && !n.conn.abandoned() {
			return true
		}
	}
	return false
}

func (c *Client) isOpen() bool {
	select {
	case <-c.opened:
		return true
	default:
		return false
	}
}

func (c *Client) probeAll() {
	now := c.now()
	for _, list := range [][]*node{c.ring, c.members} {
		for _, n := range list {
			if n.retryAt <= now {
				c.probe(n)
			}
		}
	}
}

// probe asks a node for its status unless it already owes an answer.
func (c *Client) probe(n *node) {
	if n.probing {
		return
	}
	n.probing = true
	q := c.newCall("status", wire.FrameStatus)
	q.target, q.endpoint, q.once = toEndpoint, n.addr, true
	q.deadline = c.now() + int64(c.cfg.DialTimeout+c.cfg.ProbeInterval)
	q.onStatus = func(body []byte, err error) { c.probed(n, body, err) }
	c.active.push(q)
	c.armSweep()
	c.ask(n, q)
}

// probed takes a node's status.
func (c *Client) probed(n *node, body []byte, err error) {
	var st wire.NodeStatus
	if err == nil {
		st, err = wire.ParseStatus(body)
	}
	c.mu.Lock()
	n.probing = false
	if err != nil {
		c.hurryProbe()
		c.unlock()
		return
	}
	c.learn(&st)
	n.trouble = leaderless(&st)
	if l := c.leaderOf(n, &st); l != nil && !l.suspect() && l.retryAt <= c.now() {
		if c.leader == nil || st.Term > c.leaderTerm {
			c.leaderTerm = st.Term
			c.lead(l)
		}
	} else if c.leader == nil {
		c.hurryProbe()
	}
	c.unlock()
}

// leaderless says why a node that answered is of no help, or nil if it named a
// leader.
func leaderless(st *wire.NodeStatus) error {
	switch {
	case st.Role == wire.RoleLeader || st.Leader != 0:
		return nil
	case st.State == wire.StateFenced:
		return fmt.Errorf("%w: its disk has failed", ErrNoLeader)
	case st.State == wire.StateNoSpace:
		return fmt.Errorf("%w: its disk is full", ErrNoLeader)
	case st.Cluster.IsZero():
		return fmt.Errorf("%w: it waits for the other nodes of its cluster", ErrNoLeader)
	default:
		return ErrNoLeader
	}
}

// hurryProbe ends the head start of the first node asked: it does not know.
func (c *Client) hurryProbe() {
	if c.probeArmed && c.probeRound == 1 {
		c.probeTimer.Reset(jitter(MinBackoff))
	}
}

// leaderOf returns the leader by a node's word, or nil.
func (c *Client) leaderOf(n *node, st *wire.NodeStatus) *node {
	if st.Role == wire.RoleLeader {
		return n
	}
	for i := range st.Members {
		m := &st.Members[i]
		if st.Leader != 0 && m.ID == st.Leader && checkAddr(m.ClientAddr) == nil {
			return c.nodeAt(m.ClientAddr)
		}
	}
	return nil
}

// learn keeps the members' addresses: they are asked for the leader too.
func (c *Client) learn(st *wire.NodeStatus) {
	c.members = c.members[:0]
	for i := range st.Members {
		if addr := st.Members[i].ClientAddr; checkAddr(addr) == nil && len(c.members) < wire.MaxMembers {
			c.members = append(c.members, c.nodeAt(addr))
		}
	}
}
