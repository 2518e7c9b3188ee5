package node

import (
	"time"

	"github.com/dnode-engine/dnode/wire"
)

// What a node holds for connections is the beginning of a request whose rest
// has not come, and replies that were not read. Each connection has limits of
// its own, but ten thousand times those limits is more memory than a machine
// has, so that the sum has a limit, too: Limits.HeldBytes.
//
//	sum over half the limit  who holds more than a fair share of the half is
//	                         answered Busy
//	sum over the limit       who holds more than a fair share of it is closed
//
// A fair share is the limit divided by the number of connections. If the sum is
// over the limit somebody holds more than that, so closing helps; and who holds
// little is not hurt by those who hold much. Requests that were handed to the
// replica are copied there and under its own limits.
//
// The beginning of a request is kept here and not in gnet's ring buffers: those
// come from a pool that learns its size from what was used most, so that a
// client with large requests would make every other one's single byte as large.

const (
	// outboundFloor is what gnet takes for the first unsent byte.
	outboundFloor = writeBufferCap
	recountNanos  = int64(10 * time.Millisecond)
	greedyRetryMs = 200
)

// hold keeps input of which most bytes are expected in all. What is taken from
// memory grows with what has come, not with what the frame says it will be.
func (t *conns) hold(c *conn, b []byte, most int) {
	have := len(c.in) + len(b)
	if have > cap(c.in) {
		old := c.in
		c.in = append(t.inputBuffer(min(max(have, 2*cap(old)), max(have, most))), old...)
		t.keep(old)
	}
	c.in = append(c.in, b...)
}

func (t *conns) inputBuffer(size int) []byte {
	if size > keepBufferBytes && cap(t.spare) >= size {
		b := t.spare
		t.spare = nil
		return b
	}
	return make([]byte, 0, size)
}

// dropInput gives up what is held of a frame.
func (t *conns) dropInput(c *conn) {
	t.keep(c.in)
	c.in, c.at = nil, 0
}

// keep takes an input buffer back. One large one is kept, for large requests
// tend to come one after the other.
func (t *conns) keep(b []byte) {
	if cap(b) > max(keepBufferBytes, cap(t.spare)) {
		t.spare = b[:0]
	}
}

// measure counts what is held for a connection anew.
func (t *conns) measure(c *conn) {
	held := cap(c.in)
	if n := c.gc.OutboundBuffered(); n > 0 {
		held += max(n, outboundFloor)
	}
	t.held += held - c.held
	t.most = max(t.most, t.held)
	c.held = held
}

// share is what a connection may hold of limit when the sum is over it.
func (t *conns) share(limit int) int { return limit / max(1, t.open) }

// greedy reports whether a connection should be asked to come back later.
func (l *loop) greedy(c *conn) bool {
	half := l.cfg.Limits.HeldBytes / 2
	return l.conns.held > half && c.held > l.conns.share(half)
}

func (l *loop) busy() *wire.Error {
	e := refuse(wire.CodeBusy, "%s holds %d MiB of unfinished requests and unread replies, this connection more than its share of it", l.cfg.Name, l.conns.held>>20)
	e.RetryAfterMs = greedyRetryMs
	return e
}

// account notes what a connection holds after it was read from or written to.
func (l *loop) account(c *conn) {
	if c.state == connDead {
		return
	}
	l.conns.measure(c)
	if l.conns.held > l.cfg.Limits.HeldBytes {
		l.relieve()
	}
}

// recount learns what gnet has sent since each connection was last written to.
func (l *loop) recount() {
	if l.now-l.conns.counted < recountNanos {
		return
	}
	l.conns.counted = l.now
	for _, c := range l.conns.slots {
		if c != nil && c.held > 0 {
			l.conns.measure(c)
		}
	}
}

// relieve closes every connection that holds too much when the sum is over the
// limit, which it is not afterwards. It runs with every sweep, too: nothing tells
// when gnet has sent what is held.
func (l *loop) relieve() {
	limit := l.cfg.Limits.HeldBytes
	if l.conns.held <= limit/2 {
		return
	}
	l.recount()
	if l.conns.held <= limit {
		return
	}
	for _, c := range l.conns.slots {
		if c != nil {
			l.relieveOf(c)
		}
	}
}

// relieveOf closes a connection if it holds too much. What it was told is lost
// behind what it does not read; an unfinished request leaves room for the
// reason.
func (l *loop) relieveOf(c *conn) {
	limit := l.cfg.Limits.HeldBytes
	if l.conns.held <= limit || c.held <= l.conns.share(limit) {
		return
	}
	l.conns.measure(c) // it may have read since
	if c.held <= l.conns.share(limit) {
		return
	}
	if c.gc.OutboundBuffered() == 0 && c.state != connClosing {
		l.hangUp(c, l.busy())
		l.conns.measure(c)
		return
	}
	l.counters.closed[wire.CodeSlowReader]++
	l.cut(c)
}
