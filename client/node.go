package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/dnode-engine/dnode/wire"
)

// node is one address and what is known about it. All of it is guarded by
// Client.mu.
type node struct {
	addr     string
	conn     *conn // open, or nil
	dialing  bool
	probing  bool // asked for the leader, not answered yet
	failures int  // connections in a row that failed before they answered anything
	retryAt  int64
	trouble  error // why it could not be used last, nil if it could; for messages
	refused  bool  // what is behind the address refused in a way that lasts
	queue    callList
}

// suspect reports whether the node is connected but has fallen silent.
func (n *node) suspect() bool { return n.conn != nil && n.conn.suspect }

var (
	errNoHello  = errors.New("it has not said hello yet; is this the client address of a node?")
	errNoAnswer = errors.New("it said hello and has answered nothing since")
)

// troubled says why the node could not be used, or cannot yet; nil if it can.
func (n *node) troubled() error {
	switch {
	case n.trouble != nil:
		return n.trouble
	case n.dialing:
		return errNoHello
	case n.conn != nil && n.conn.inFlight > 0 && !n.conn.answered:
		return errNoAnswer
	}
	return nil
}

// nodeAt returns the node with the given address, and makes one if it is new.
func (c *Client) nodeAt(addr string) *node {
	n := c.nodes[addr]
	if n == nil {
		c.forgetIdleNodes()
		n = &node{addr: addr, queue: callList{which: placeLinks}}
		c.nodes[addr] = n
	}
	return n
}

// maxNodes bounds the addresses remembered besides the configured ones. They
// come from answers, so a hostile node could invent any number.
const maxNodes = 2 * wire.MaxMembers

func (c *Client) forgetIdleNodes() {
	if len(c.nodes) < len(c.ring)+maxNodes {
		return
	}
	for addr, n := range c.nodes {
		idle := n.conn == nil && !n.dialing && !n.probing && n.queue.len == 0
		if idle && n != c.leader && !c.inRing(n) && !slices.Contains(c.members, n) {
			delete(c.nodes, addr)
		}
	}
}

func (c *Client) inRing(n *node) bool {
	return slices.Contains(c.ring, n)
}

// ask puts a call in line at a node and connects to it if need be.
func (c *Client) ask(n *node, q *call) {
	q.node = n
	q.attempts++
	q.phase = phaseQueued
	n.queue.push(q)
	if n.conn != nil {
		n.conn.admit()
		return
	}
	c.connect(n)
}

// connect starts to open a connection unless that is under way.
func (c *Client) connect(n *node) {
	if n.dialing || n.conn != nil || c.closed {
		return
	}
	n.dialing = true
	wait := time.Duration(max(n.retryAt-c.now(), 0))
	c.running.Go(func() { c.serve(n, wait) })
}

// serve opens a connection to n after a wait and reads from it until it ends.
func (c *Client) serve(n *node, wait time.Duration) {
	k, err := c.open(n, wait)
	c.mu.Lock()
	n.dialing = false
	if err != nil || c.closed {
		if k != nil {
			c.closing = append(c.closing, k.net)
		}
		c.unreachable(n, err)
		c.unlock()
		return
	}
	n.conn, n.trouble, n.refused = k, nil, false
	c.connected()
	k.lastHeard = c.now()
	k.admit()
	c.running.Go(k.writeLoop)
	c.unlock()
	k.readLoop()
}

// open dials and says hello.
func (c *Client) open(n *node, wait time.Duration) (*conn, error) {
	if !c.sleep(wait) {
		return nil, ErrClosed
	}
	ctx, cancel := context.WithTimeout(c.life, c.cfg.DialTimeout)
	defer cancel()
	nc, err := c.cfg.Dial(ctx, n.addr)
	if err != nil {
		return nil, fmt.Errorf("cannot connect: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	k := newConn(c, n, nc)
	err = k.hello()
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		nc.Close()
		if ctx.Err() != nil && c.life.Err() == nil {
			err = fmt.Errorf("no hello within %v; is this the client address of a node?", c.cfg.DialTimeout)
		}
		return nil, err
	}
	return k, nil
}

// sleep waits and reports whether the client is still open.
func (c *Client) sleep(d time.Duration) bool {
	if d <= 0 {
		return c.life.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.life.Done():
		return false
	}
}

// unreachable ends the wait of every call that was in line at a node whose
// connection could not be opened.
func (c *Client) unreachable(n *node, err error) {
	n.refused = lasting(err)
	c.setBack(n, err)
	c.notSent(&n.queue, err)
	if n.refused && !c.isOpen() && !slices.ContainsFunc(c.ring, func(n *node) bool { return !n.refused }) {
		c.giveUpOpening()
	}
}

// giveUpOpening ends the wait of Open.
func (c *Client) giveUpOpening() {
	select {
	case <-c.vain:
	default:
		close(c.vain)
	}
}

// notSent ends the wait of all calls in a line. They may come back to it.
func (c *Client) notSent(line *callList, err error) {
	for q := line.take(); q != nil; {
		next := q.at.next
		c.failed(q, failure{stage: StageNotSent, err: err})
		q = next
	}
}

// setBack notes that a node failed: it is not the leader as far as we know,
// and is left alone for a while.
func (c *Client) setBack(n *node, err error) {
	n.failures++
	n.retryAt = c.now() + int64(jitter(backoffAfter(n.failures)))
	if err != nil {
		n.trouble = err
	}
	c.notLeader(n)
}

// jitter returns a random part of d.
func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(rand.Int64N(int64(d) + 1))
}

// lost ends a connection: what it carried is decided anew, by how far it came.
func (c *Client) lost(k *conn, err error) {
	if k.dead {
		return
	}
	k.dead = true
	n := k.node
	n.conn = nil
	c.closing = append(c.closing, k.net)
	k.signal()
	if !k.answered {
		c.setBack(n, err)
	} else {
		n.trouble = err
		c.notLeader(n)
	}
	waiting := n.queue
	n.queue.take()
	for i := range k.slots {
		s := &k.slots[i]
		if q := s.call; q != nil {
			s.call = nil
			stage := StageLost
			if s.end > k.taken {
				stage = StageNotSent
			}
			c.failed(q, failure{stage: stage, err: err})
		}
	}
	c.notSent(&waiting, err)
}

// errOther is returned for an address that belongs to another cluster.
func errOther(got, want wire.ClusterID) error {
	return &wire.Error{Code: wire.CodeWrongCluster, Text: fmt.Sprintf(
		"the node belongs to cluster %v, this client is connected to %v; check the endpoints", got, want)}
}
