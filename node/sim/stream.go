package sim

import (
	"fmt"

	"github.com/dnode-engine/dnode/node/replica"
	"github.com/dnode-engine/dnode/wire"
)

// The ends of a connection.
const (
	caller = 0
	callee = 1
)

const (
	linkSilence    = 5 * second // unacknowledged bytes for so long: the link is dead
	retransmission = 200 * millisecond
)

// conn is one connection, as TCP gives it: two streams of bytes, in order, that
// end anywhere when it breaks, and of which each end learns by itself.
type conn struct {
	id     uint64 // slot and generation, never reused
	side   wire.Side
	caller int // a node, or a client
	callee int // a node
	broken bool
	doubt  int64   // since when bytes have not got through or were not acknowledged; zero: they were
	way    [2]pipe // by the end that writes
	end    [2]end
}

// pipe is one direction of a connection.
//
// Invariant: read ≤ came ≤ len(buf).
type pipe struct {
	buf  []byte // written and not forgotten
	read int    // of these, taken by the reader
	came int    // of these, arrived
	last int64  // when all of it will have
	held int    // bytes that would have arrived, but for a cut link
}

type end struct {
	session wire.Session
	open    bool // the hello was exchanged
	gone    bool // closed, or its process has ended, or it has learned of the other's end
}

const slotBits = 16

// get returns the connection of that id if there is still something of it.
func (w *network) get(id uint64) *conn {
	slot := id & (1<<slotBits - 1)
	if id == 0 || w.conns[slot].id != id {
		return nil
	}
	return w.conns[slot]
}

// connect makes a connection between two processes that are up.
func (w *network) connect(side wire.Side, from, to int) *conn {
	if len(w.free) == 0 {
		w.conns = append(w.conns, &conn{})
		w.free = append(w.free, uint64(len(w.conns)-1))
	}
	slot := w.free[len(w.free)-1]
	w.free = w.free[:len(w.free)-1]
	c := w.conns[slot]
	w.made++
	c.id = w.made<<slotBits | slot
	c.side, c.caller, c.callee, c.broken, c.doubt = side, from, to, false, 0
	c.end[caller] = end{session: wire.NewSession(wire.SessionConfig{Side: side}, w.c.now)}
	c.end[callee] = end{session: wire.NewSession(wire.SessionConfig{
		Side: side, Accepts: true, Requests: w.opt.ConnRequests, Bytes: w.opt.ConnBytes,
	}, w.c.now)}
	for i := range c.way {
		c.way[i] = pipe{buf: c.way[i].buf[:0], last: w.c.now + 2*w.delay()} // the handshake
		w.c.at(wire.HelloTimeoutNanos, c.event(evHello, i))
	}
	return c
}

// event is something that happens at one end.
func (c *conn) event(kind eventKind, end int) event {
	e := event{kind: kind, op: c.id, from: end, node: c.callee, client: c.caller}
	if end == caller {
		e.node = c.caller
		if c.side == wire.ClientSide {
			e.node = -1
		}
	}
	return e
}

// between returns the nodes at the ends, the one that writes first, of a link
// between nodes: no others are ever cut off.
func (c *conn) nodes(writer int) (from, to int, ok bool) {
	if writer == caller {
		return c.caller, c.callee, c.side == wire.PeerSide
	}
	return c.callee, c.caller, c.side == wire.PeerSide
}

// write sends bytes from one end to the other, in pieces.
func (w *network) write(c *conn, end int, b []byte) {
	if c.broken || c.end[end].gone {
		return
	}
	c.way[end].buf = append(c.way[end].buf, b...)
	for n := len(b); n > 0; {
		piece := n
		if w.opt.Chop > 0 && w.rand.IntN(100) < w.opt.Chop {
			piece = 1 + w.rand.IntN(n)
			w.c.stats.Pieces++
		}
		w.fly(c, end, piece)
		n -= piece
	}
}

// fly lets the next n bytes arrive, not before those ahead of them.
func (w *network) fly(c *conn, end, n int) {
	d := w.delay()
	if from, to, ok := c.nodes(end); ok && w.delayed.has(from, to) {
		d += w.lag
	}
	if w.opt.Loss > 0 && w.rand.Float64() < w.opt.Loss {
		d += retransmission << w.rand.IntN(3)
	}
	p := &c.way[end]
	p.last = max(p.last, w.c.now+d)
	e := c.event(evBytes, 1-end)
	e.read = n
	w.c.at(p.last-w.c.now, e)
}

// arrive takes bytes that have come to an end.
func (w *network) arrive(c *conn, end, n int) {
	p := &c.way[1-end]
	if c.end[end].gone {
		return
	}
	if from, to, ok := c.nodes(1 - end); ok && w.cut != 0 {
		if there := w.cut.has(from, to); there || w.cut.has(to, from) {
			w.doubt(c)
			if there {
				p.held += n
				return
			}
		}
	}
	p.came = min(p.came+n, len(p.buf))
	w.read(c, end)
}

// doubt gives a connection that much time to get its bytes acknowledged.
func (w *network) doubt(c *conn) {
	if c.doubt == 0 {
		c.doubt = w.c.now
		w.c.at(linkSilence, c.event(evSilence, caller))
	}
}

// mended lets the bytes go on that were held by links that were cut.
func (w *network) mended() {
	for _, c := range w.conns {
		for i := range c.way {
			from, to, _ := c.nodes(i)
			p := &c.way[i]
			if p.held == 0 || w.cut.has(from, to) {
				continue
			}
			p.last = max(p.last, w.c.now+w.delay()+w.rand.Int64N(retransmission))
			e := c.event(evBytes, 1-i)
			e.read, p.held = p.held, 0
			w.c.at(p.last-w.c.now, e)
		}
		if from, to, _ := c.nodes(caller); !w.cut.has(from, to) && !w.cut.has(to, from) {
			c.doubt = 0
		}
	}
}

// read gives the whole frames that have come to the process at an end. They are
// overwritten afterwards: nobody may keep them.
func (w *network) read(c *conn, end int) {
	p, s := &c.way[1-end], &c.end[end]
	for !s.gone && p.read < p.came {
		f, n, err := s.session.Next(p.buf[p.read:p.came:p.came])
		if err != nil {
			w.c.fail(fmt.Errorf("%v connection from %d to %d breaks the protocol: %w", c.side, c.caller, c.callee, err))
			return
		}
		if n == 0 {
			break
		}
		if w.c.trace.tell != nil && s.open {
			w.tell(c, end, p.buf[p.read:p.read+n])
		}
		w.frame(c, end, f)
		clear(p.buf[p.read : p.read+n])
		p.read += n
	}
	switch {
	case p.read == len(p.buf):
		p.buf, p.read, p.came = p.buf[:0], 0, 0
	case p.read > 64<<10:
		p.buf = p.buf[:copy(p.buf, p.buf[p.read:])]
		p.came, p.read = p.came-p.read, 0
	}
}

func (w *network) tell(c *conn, end int, b []byte) {
	switch {
	case end == caller:
		w.c.say(-1, "client %d is told: %s", c.caller, messages(b))
	case c.side == wire.PeerSide:
		w.c.say(c.callee, "from n%d: %s", c.caller+1, messages(b))
	default:
		w.c.say(c.callee, "from client %d: %s", c.caller, messages(b))
	}
}

// frame gives one frame to the process at an end.
func (w *network) frame(c *conn, end int, f wire.Frame) {
	open := c.end[end].open
	switch {
	case end == callee && !open:
		w.greet(c, f)
	case end == callee && c.side == wire.PeerSide:
		n := w.c.nodes[c.callee]
		w.c.check.canvass(n, f)
		if err := n.rep.Peer(wire.NodeID(c.caller+1), f); err != nil {
			w.c.fail(fmt.Errorf("node %d: %w", n.id, err))
		}
	case end == callee:
		w.c.nodes[c.callee].request(replica.ConnID(c.id), f)
	case !open:
		w.greeted(c, f)
	case c.side == wire.ClientSide:
		w.c.load.answer(&w.c.load.clients[c.caller], c.callee, f)
	default:
		w.c.fail(fmt.Errorf("node %d answers a link with frame type %d", c.callee+1, f.Type))
	}
}

// reply sends a node's reply, if the connection is still there.
func (w *network) reply(r *replica.Reply) {
	c := w.get(uint64(r.Conn))
	if c == nil || c.end[callee].gone {
		w.c.stats.Undelivered++
		return
	}
	c.end[callee].session.Replied(r.Request)
	w.write(c, callee, r.Bytes)
}

// hangUp closes one end. Of what it has written a part is lost, and the other end
// learns of it later.
func (w *network) hangUp(c *conn, end int) {
	if !c.end[end].gone {
		w.leave(c, end, w.delay())
		w.ended(c, end)
	}
}

// leave takes an end away; the other one learns of it after the given time.
func (w *network) leave(c *conn, end int, after int64) {
	c.end[end].gone = true
	w.loseSuffix(c, end)
	w.c.at(after, c.event(evEnd, 1-end))
}

func (w *network) loseSuffix(c *conn, end int) {
	p := &c.way[end]
	if lost := w.rand.IntN(len(p.buf) - p.came + 1); lost > 0 {
		w.c.stats.LostSuffixes++
		p.buf = p.buf[:len(p.buf)-lost]
	}
}

// over tells an end that the other one is gone, and forgets the connection when
// both know.
func (w *network) over(e *event) {
	c := w.get(e.op)
	if c == nil {
		return
	}
	switch {
	case c.end[e.from].gone:
	case e.node >= 0:
		w.c.deliver(e)
	default:
		w.learn(c, e.from)
	}
	if c.end[caller].gone && c.end[callee].gone {
		w.free = append(w.free, c.id&(1<<slotBits-1))
		c.id = 0
		c.way[0].held, c.way[1].held = 0, 0
	}
}

// learn is the end of one end, of which it is told. Through a link that is cut
// it is not.
func (w *network) learn(c *conn, end int) {
	if from, to, ok := c.nodes(1 - end); ok && w.cut.has(from, to) && !c.broken {
		w.c.at(retransmission+w.rand.Int64N(second), c.event(evEnd, end))
		return
	}
	if !c.end[end].gone {
		c.end[end].gone = true
		w.ended(c, end)
	}
}

// ended lets the process at an end know that its connection is gone.
func (w *network) ended(c *conn, end int) {
	switch {
	case end == callee:
	case c.side == wire.ClientSide:
		w.c.load.lost(&w.c.load.clients[c.caller], c.callee)
	default:
		w.linkDown(c)
	}
}

// expired closes an end whose hello was not answered in time.
func (w *network) expired(c *conn, end int) {
	if !c.end[end].gone && c.end[end].session.Expired(w.c.now) {
		w.hangUp(c, end)
	}
}

// silent closes a link whose bytes were not acknowledged for long.
func (w *network) silent(c *conn) {
	if c.doubt != 0 && w.c.now-c.doubt >= linkSilence {
		w.hangUp(c, caller)
	}
}

// crashed ends all connections of a process. Who loses its power says nothing
// more; the others learn of it in time.
func (w *network) crashed(n *node, power bool) {
	for _, c := range w.conns {
		for end := range c.end {
			if c.id == 0 || c.end[end].gone || c.event(evEnd, end).node != n.index {
				continue
			}
			after := w.delay()
			if power {
				after += min(int64(w.rand.ExpFloat64()*float64(second)), linkSilence)
			}
			w.leave(c, end, after)
		}
	}
	for to := range maxNodes {
		w.links[n.index*maxNodes+to] = peerLink{}
	}
}

// reset breaks a connection on its way. Both directions lose what was not there
// yet, and each end learns of it in its own time; what it writes until then goes
// nowhere. The seed chooses who learns late.
func (w *network) reset(c *conn, seed uint64) {
	if c == nil || c.broken {
		return
	}
	c.broken = true
	w.c.stats.Resets++
	for end := range c.end {
		w.loseSuffix(c, end)
		after := w.delay()
		if seed>>end&1 != 0 {
			after += int64(seed>>8) % second
		}
		w.c.at(after, c.event(evEnd, end))
	}
}
