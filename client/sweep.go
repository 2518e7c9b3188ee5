package client

import (
	"context"
	"errors"
	"time"

	"github.com/dnode-engine/dnode/wire"
)

// sweepEvery is how often deadlines and silent nodes are looked for while
// calls are under way. A waiting caller's context is exact; this is the
// resolution for default timeouts and asynchronous calls.
const sweepEvery = 50 * time.Millisecond

// silentLimit is how long a node may say nothing at all, while something is in
// flight, before its connection is closed and what it carried is decided.
const silentLimit = 10 * time.Second

var (
	errSilent   = errors.New("the node has fallen silent")
	errReplaced = errors.New("the node has fallen silent, and another one leads now")
)

func (c *Client) armSweep() {
	if c.sweepArmed {
		return
	}
	c.sweepArmed = true
	if c.sweepTimer == nil {
		c.sweepTimer = time.AfterFunc(sweepEvery, c.sweep)
		return
	}
	c.sweepTimer.Reset(sweepEvery)
}

// sweep ends calls whose time is over and watches over silent nodes. It runs
// again as long as there are calls or unanswered requests.
func (c *Client) sweep() {
	c.mu.Lock()
	c.sweepArmed = false
	if c.closed {
		c.mu.Unlock()
		return
	}
	now := c.now()
	c.clock = now
	for q := c.active.first; q != nil; {
		next := q.active.next
		if err := q.over(now); err != nil {
			c.giveUp(q, err)
		}
		q = next
	}
	owed := false
	for _, n := range c.nodes {
		if n.conn != nil && n.conn.inFlight > 0 {
			owed = true
			c.watch(n.conn, now)
		}
	}
	if owed || c.active.len > 0 {
		c.armSweep()
	}
	c.unlock()
}

// over returns why a call's time is over, or nil.
func (q *call) over(now int64) error {
	if now >= q.deadline {
		return context.DeadlineExceeded
	}
	if q.ctx != nil {
		return q.ctx.Err()
	}
	return nil
}

// watch acts on a connection that owes answers: after a probe interval of
// silence it asks for a sign of life, after a second one it looks elsewhere.
// Stale reads are then asked elsewhere; what the leader alone may answer keeps
// its chance until its deadline or until another node leads, since this one may
// only be slow.
func (c *Client) watch(k *conn, now int64) {
	silent := time.Duration(now - max(k.lastHeard, k.busySince))
	switch {
	case silent < c.cfg.ProbeInterval:
		k.pinged = false
	case !k.pinged:
		k.ping(now)
	case silent >= silentLimit || k.suspect && k.abandoned():
		c.lost(k, errSilent)
	case !k.suspect && now-k.pingAt >= int64(c.cfg.ProbeInterval):
		c.doubt(k)
	}
}

// ping asks for the node's status, whose answer nobody waits for. One credit
// is kept free for it, unless the node granted only one.
func (k *conn) ping(now int64) {
	k.pinged, k.pingAt = true, now
	size := wire.FrameHeaderBytes
	if k.inFlight >= k.limit || k.bytes+size > k.limitBytes {
		return
	}
	q := call{frame: wire.FrameStatus}
	k.send(&q, size)
	k.slots[q.slot].call = nil
}

// abandoned reports whether no caller waits for an answer any more.
func (k *conn) abandoned() bool {
	for i := range k.slots {
		if k.slots[i].call != nil {
			return false
		}
	}
	return true
}

// doubt looks for another leader than the silent node, and asks stale reads
// again elsewhere.
func (c *Client) doubt(k *conn) {
	k.suspect = true
	n := k.node
	c.notLeader(n)
	n.trouble = errSilent
	for i := range k.slots {
		s := &k.slots[i]
		if q := s.call; q != nil && q.target == toAny {
			s.call = nil
			c.failed(q, failure{stage: StageLost, err: errSilent})
		}
	}
	waiting := n.queue
	n.queue.take()
	c.notSent(&waiting, errSilent)
}
