package node

import (
	"time"

	"github.com/dnode-engine/dnode/wire"
)

// The log is one queue: a request waits for all that were taken before it. A
// client with thousands in flight would be most of that queue and all others
// its victims, so that it yields: if others have asked for something lately,
// requests beyond yieldRequests or yieldBytes of one connection wait in its own
// buffer and not in the log. One whose last reply was larger than yieldBytes, a
// page of a scan, gets one request at a time. Alone it has the node to itself.
//
// What waits is bounded by the bytes that the hello granted. The number of
// requests is checked when they are taken.

const (
	yieldRequests = 256
	yieldBytes    = 128 << 10
	yieldNanos    = int64(time.Second) // how long others count after they asked
)

// asks notes whose request is taken.
func (l *loop) asks(c *conn) {
	if c.id == l.asked {
		return
	}
	if l.asked != 0 {
		l.othersAsked = l.now
	}
	l.asked = c.id
}

// mustYield reports whether a connection has enough in flight for now.
func (l *loop) mustYield(c *conn) bool {
	much := c.pending >= yieldRequests || c.bytes >= yieldBytes || c.pending > 0 && c.heavy
	return much && l.othersAsked != 0 && l.now-l.othersAsked < yieldNanos
}

func (l *loop) yield(c *conn) {
	c.yields = true
	l.counters.yielded++
	l.conns.yielding = append(l.conns.yielding, c)
}

// queue keeps what a yielding connection sends.
func (l *loop) queue(c *conn, b []byte) {
	if c.at > len(c.in)/2 {
		c.in, c.at = c.in[:copy(c.in, c.in[c.at:])], 0
	}
	if len(c.in)-c.at+len(b) > l.cfg.Limits.RequestBytes+wire.MaxFrameBytes {
		l.breach(c, refuse(wire.CodeCredit, "more than the %d bytes of requests in flight that were granted", l.cfg.Limits.RequestBytes))
		return
	}
	l.conns.hold(c, b)
}

// resume gives connections that yielded their turn, as far as it goes. It runs
// once in each turn of the loop.
func (l *loop) resume() {
	kept := l.conns.yielding[:0]
	for _, c := range l.conns.yielding {
		for c.takes() && !l.mustYield(c) {
			n := l.nextFrame(c, c.in[c.at:])
			if n == 0 {
				c.yields = false
				break
			}
			c.at += n
		}
		switch {
		case !c.takes():
			c.yields = false
		case c.yields:
			kept = append(kept, c)
		default:
			l.unqueue(c)
		}
		l.account(c)
	}
	clear(l.conns.yielding[len(kept):])
	l.conns.yielding = kept
}

// unqueue leaves in c.in the beginning of a frame, as frames wants it.
func (l *loop) unqueue(c *conn) {
	rest := c.in[c.at:]
	c.in, c.at = nil, 0
	if len(rest) > 0 {
		l.conns.hold(c, rest)
	}
}
