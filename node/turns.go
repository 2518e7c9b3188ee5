package node

import (
	"encoding/binary"
	"time"

	"github.com/dnode-engine/dnode/wire"
)

// The log is one queue, and the loop is one thread: a request waits for all that
// were taken before it. A client with thousands in flight, or with large ones,
// would be most of that queue and all others its victims.
//
// A connection is light while it has few and small requests in flight; what it
// has beyond that is bulk. As long as light ones ask, too, all bulk together has
// two limits: in flight, bulkRequests or bulkBytes, or one request that is larger;
// and over time, a request each bulkNanos, and its bytes at writeRate or readRate.
// The rest waits in the buffers of its connections, which take turns: who has
// waited longest without one is the first, and large requests of others wait for
// it. Among themselves connections with much in flight have the node to themselves.
//
// A request whose reply will be large costs as much as a large one; it is told
// by the last reply of its connection, or, before there is one, by being a scan.
//
// What waits counts for the requests and bytes that the hello granted.

const (
	lightRequests = 8
	lightBytes    = 16 << 10
	bulkRequests  = 8
	bulkBytes     = 32 << 10
	bulkNanos     = int64(30 * time.Microsecond)
	writeRate     = 16 << 20  // bytes a second, of requests
	readRate      = 128 << 20 // bytes a second, of replies
	burstNanos    = bulkRequests * bulkNanos
	maxDebtNanos  = int64(100 * time.Millisecond)
	yieldNanos    = int64(time.Second) // how long a light request is remembered, and a connection's bulk
	maxResumed    = 256                // connections looked at in one turn
)

// bulk is what a connection has in flight beyond a light one's share.
type bulk struct{ requests, bytes int }

func (c *conn) bulk() (b bulk) {
	b.requests = max(0, c.pending-lightRequests)
	switch {
	case c.heavy && c.pending > 0:
		b.bytes = max(c.bytes, bulkBytes)
	case c.bytes > lightBytes:
		b.bytes = c.bytes
	}
	return b
}

// weigh counts again what a connection has in flight.
func (l *loop) weigh(c *conn) {
	was := c.weight
	c.weight = c.bulk()
	l.bulk.requests += c.weight.requests - was.requests
	l.bulk.bytes += c.weight.bytes - was.bytes
}

// ask is what is known of a request before it is taken.
type ask struct {
	size  int
	write bool
	scan  bool
}

func askOf(f wire.Frame) ask {
	return ask{
		size: f.Size, write: f.Type == wire.FrameWrite,
		scan: f.Type == wire.FrameRead && len(f.Body) > 1 && wire.QueryOp(f.Body[1]) == wire.QueryScan,
	}
}

// peek looks at the first frame of b without judging it, if it is whole.
func peek(b []byte) (a ask, whole bool) {
	if len(b) < wire.FrameHeaderBytes {
		return ask{}, false
	}
	size, body := uint64(binary.LittleEndian.Uint32(b)), wire.FrameHeaderBytes
	if wire.Flags(b[5])&wire.FlagTrace != 0 {
		body += wire.TraceBytes
	}
	if size > uint64(len(b)) || size < uint64(body) {
		return ask{}, false
	}
	return askOf(wire.Frame{Type: wire.FrameType(b[4]), Size: int(size), Body: b[body:size]}), true
}

// asks notes a request that is taken.
func (l *loop) asks(c *conn, a ask) {
	c.heavy = c.heavy || a.scan && !c.known
	c.pending++
	c.bytes += a.size
	l.pending++
	l.weigh(c)
	switch {
	case c.weight != bulk{}:
		cost := bulkNanos
		if a.write {
			cost += int64(a.size) * int64(time.Second) / writeRate
		}
		l.pay(cost)
		c.bulkAt = l.now
		if l.lightBy == c.id { // it was the beginning of more
			l.lightAt, l.lightBy = l.otherAt, 0
		}
	case l.now-c.bulkAt >= yieldNanos:
		if l.lightBy != c.id {
			l.otherAt, l.lightBy = l.lightAt, c.id
		}
		l.lightAt = l.now
	}
}

// pay notes what bulk has cost of its share of time. While no light ones ask it
// takes far more than that, which is not held against it later.
func (l *loop) pay(nanos int64) {
	l.bulkUntil = max(min(l.bulkUntil, l.now+maxDebtNanos), l.now) + nanos
}

// answered notes the reply to one.
func (l *loop) answered(c *conn, requestBytes, replyBytes int) {
	if replyBytes > lightBytes {
		l.pay(int64(replyBytes) * int64(time.Second) / readRate)
	}
	c.pending--
	c.bytes -= requestBytes
	c.known, c.heavy = true, replyBytes > bulkBytes
	l.pending--
	l.weigh(c)
}

// lightAsk reports whether a light connection has asked lately.
func (l *loop) lightAsk() bool { return l.lightAt != 0 && l.now-l.lightAt < yieldNanos }

// mustYield reports whether a connection has to let others go first with a
// request.
func (l *loop) mustYield(c *conn, a ask) bool {
	lightAt := l.lightAt
	if l.lightBy == c.id {
		lightAt = l.otherAt
	}
	light := lightAt != 0 && l.now-lightAt < yieldNanos
	tight := l.disk.tight.Load() && a.write
	if !light && !tight || c.state != connOpen || c.side != wire.ClientSide || l.draining {
		return false
	}
	many, large := c.pending >= lightRequests, c.bytes+a.size > lightBytes
	if tight {
		return many || large
	}
	bytes := a.size
	if c.heavy || a.scan && !c.known {
		bytes, large = max(bytes, bulkBytes), true
	}
	if (many || large) && l.bulkUntil-l.now > burstNanos || large && l.first != 0 && l.first != c.id {
		return true
	}
	return many && l.bulk.requests >= bulkRequests || large && l.bulk.bytes > 0 && l.bulk.bytes+bytes > bulkBytes
}

func (l *loop) yield(c *conn) {
	c.yields, c.at, c.next, c.waiting = true, 0, 0, 0
	c.count()
	l.counters.yielded++
	l.conns.yielding = append(l.conns.yielding, c)
}

// queue keeps what a yielding connection sends.
func (l *loop) queue(c *conn, b []byte) {
	if c.at > len(c.in)/2 {
		c.in, c.next, c.at = c.in[:copy(c.in, c.in[c.at:])], c.next-c.at, 0
	}
	most := l.cfg.Limits.RequestBytes + wire.MaxFrameBytes
	if len(c.in)-c.at+len(b) > most {
		l.breach(c, refuse(wire.CodeCredit, "more than the %d bytes of requests in flight that were granted", l.cfg.Limits.RequestBytes))
		return
	}
	l.conns.hold(c, b, most)
	c.count()
	if c.waiting+c.pending > l.cfg.Limits.Requests {
		l.breach(c, refuse(wire.CodeCredit, "more than the %d requests in flight that were granted", l.cfg.Limits.Requests))
	}
}

// count looks for the headers of the frames that wait.
func (c *conn) count() {
	for len(c.in)-c.next >= wire.FrameHeaderBytes {
		c.next += max(wire.FrameHeaderBytes, int(min(binary.LittleEndian.Uint32(c.in[c.next:]), wire.MaxFrameBytes)))
		c.waiting++
	}
}

// resume gives connections that yielded their turn, as far as it goes. All go to
// the end of the queue, who had nothing of this turn before who had, and last who
// came first among these. It ends the batch, once in each turn of the loop.
func (l *loop) resume() {
	t := &l.conns
	n := min(len(t.yielding), maxResumed)
	turn, took := t.yielding[:n], 0
	l.first = 0
	for _, c := range turn {
		at := c.at
		l.resumeOf(c)
		switch {
		case !c.yields:
		case c.at != at:
			turn[took] = c
			took++
		default:
			t.yielding = append(t.yielding, c)
			if l.first == 0 && !l.disk.tight.Load() { // a write that waits for a segment holds up no reads
				l.first = c.id
			}
		}
	}
	if took > 0 {
		t.yielding = append(append(t.yielding, turn[1:took]...), turn[0])
	}
	if n > 0 {
		rest := copy(t.yielding, t.yielding[n:])
		clear(t.yielding[rest:])
		t.yielding = t.yielding[:rest]
	}
	l.endBatch()
	switch wait := l.bulkUntil - l.now - burstNanos; {
	case len(t.yielding) == 0:
	case wait > 0:
		l.n.kickLoopIn(time.Duration(wait))
	case took > 0 && l.bulk.requests < bulkRequests: // answered at once: there is room for more
		l.n.kickLoop()
	}
}

func (l *loop) resumeOf(c *conn) {
	for c.takes() {
		n, yields := l.nextFrame(c, c.in[c.at:])
		if yields {
			c.bulkAt = l.now
			l.account(c)
			return
		}
		if n == 0 {
			break
		}
		c.at += n
		c.waiting--
	}
	c.yields = false
	if c.takes() {
		l.unqueue(c)
	}
	l.account(c)
}

// unqueue leaves in c.in the beginning of a frame, as frames wants it.
func (l *loop) unqueue(c *conn) {
	in, at := c.in, c.at
	c.in, c.at = nil, 0
	if at < len(in) {
		l.conns.hold(c, in[at:], c.session.Need())
	}
	l.conns.keep(in)
}
