package node

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"github.com/dnode-engine/dnode/node/replica"
	"github.com/dnode-engine/dnode/wire"
)

type connState uint8

const (
	connHello   connState = iota + 1 // nothing but a hello may come
	connOpen                         // requests or messages
	connClosing                      // told why; waits for the other side to go
	connDead                         // OnClose ran: never touched again
)

const (
	// lingerNanos is how long a connection that was told why it is closed may
	// take to read it.
	lingerNanos = int64(2 * time.Second)
	keepAlive   = time.Minute // silence after which the kernel asks whether the other side is there
	// lingering connections beyond the limit on connections are told so; more
	// than this many at a time are closed without a word.
	maxRefused = 128
	// maxMemberConns is the most connections on the members' port, greeted or
	// not: each member needs one, and while it reconnects another. With few
	// descriptors there are fewer of both: see places.
	maxMemberConns = 4 * wire.MaxMembers
	// keepBufferBytes is the most that an idle reply buffer keeps.
	keepBufferBytes = 64 << 10
	maxFreeBuffers  = 64
	// maxUnsentBytes is how much is said in one turn before it is written out.
	maxUnsentBytes = 512 << 10
)

// conn is one accepted connection. It belongs to the loop.
type conn struct {
	gc      gnet.Conn
	port    *port
	id      replica.ConnID
	side    wire.Side // the port it came in by
	state   connState
	session wire.Session
	peer    wire.NodeID // PeerSide, once known
	name    string      // PeerSide, from its hello, likewise
	replica wire.ReplicaID
	in      []byte // the beginning of a frame whose rest has not come yet, or what waits while it yields
	at      int    // yields: the bytes of in that were handled
	next    int    // yields: where in in the next header is expected
	waiting int    // yields: headers between at and next
	heavy   bool   // its last reply was larger than bulkBytes, or its first will be
	known   bool   // it has had a reply
	yields  bool   // in conns.yielding: see turns.go
	bulkAt  int64  // when it last asked for more than a light one
	weight  bulk   // its part of loop.bulk
	out     []byte // frames of this batch, not yet handed to gnet
	held    int    // its part of conns.held
	dirty   bool   // in conns.dirty
	pending int    // requests handed to the replica and not answered
	bytes   int    // of these
	until   int64  // connClosing: when it is cut
}

// takes reports whether frames of the connection are still listened to.
func (c *conn) takes() bool { return c.state == connHello || c.state == connOpen }

// conns is the table of accepted connections. A ConnID is a slot and its
// generation, so that a late reply never reaches a stranger.
type conns struct {
	slots    []*conn // nil: free
	gens     []uint32
	free     []uint32
	dirty    []*conn // conns with something in out
	yielding []*conn // conns that let others go first, in the order of their turns
	callers  []*conn // members' port, in connHello, oldest first
	buffers  [][]byte
	spare    []byte // one large input buffer for whoever needs it next
	open     int    // slots in use
	members  int    // of these, came in by the members' port
	waiting  int    // conns in connHello or connClosing: to be looked at by tick
	unsent   int    // bytes appended since the last flush
	held     int    // bytes held for all of them: see hold.go
	most     int    // the highest held was
	counted  int64  // when held was last counted anew
}

func (t *conns) add(c *conn) {
	var slot uint32
	if n := len(t.free); n > 0 {
		slot, t.free = t.free[n-1], t.free[:n-1]
	} else {
		slot = uint32(len(t.slots))
		t.slots = append(t.slots, nil)
		t.gens = append(t.gens, 0)
	}
	t.gens[slot]++
	c.id = replica.ConnID(slot)<<32 | replica.ConnID(t.gens[slot])
	t.slots[slot] = c
	t.open++
	if c.side == wire.PeerSide {
		t.members++
		t.callers = append(t.callers, c)
	}
}

// get returns the connection of that id if it is still there.
func (t *conns) get(id replica.ConnID) *conn {
	slot := uint32(id >> 32)
	if int(slot) >= len(t.slots) || t.slots[slot] == nil || t.slots[slot].id != id {
		return nil
	}
	return t.slots[slot]
}

func (t *conns) remove(c *conn) {
	slot := uint32(c.id >> 32)
	t.slots[slot] = nil
	t.free = append(t.free, slot)
	t.open--
	if c.side == wire.PeerSide {
		t.members--
	}
	t.greeted(c)
	t.dropInput(c)
	t.held -= c.held
	c.held = 0
	t.giveBack(c)
}

// greeted takes a connection off the list of those that have not said hello.
func (t *conns) greeted(c *conn) {
	if i := slices.Index(t.callers, c); i >= 0 {
		t.callers = slices.Delete(t.callers, i, i+1)
	}
}

// append queues bytes for the connection's one write of this batch.
func (t *conns) append(c *conn, b []byte) {
	if !c.dirty {
		c.dirty = true
		t.dirty = append(t.dirty, c)
		if n := len(t.buffers); n > 0 && c.out == nil {
			c.out, t.buffers = t.buffers[n-1], t.buffers[:n-1]
		}
	}
	c.out = append(c.out, b...)
	t.unsent += len(b)
}

func (t *conns) giveBack(c *conn) {
	if cap(c.out) > 0 && cap(c.out) <= keepBufferBytes && len(t.buffers) < maxFreeBuffers {
		t.buffers = append(t.buffers, c.out[:0])
	}
	c.out = nil
}

// accept takes over a connection that came in by one of the two ports. Clients
// and members do not take each other's places.
func (l *loop) accept(gc gnet.Conn, c *conn) gnet.Action {
	l.counters.accepted++
	c.gc = gc
	if c.side == wire.PeerSide && l.conns.members >= l.n.places.members && !l.dropCaller() {
		l.counters.dropped++
		c.state = connDead
		return gnet.Close
	}
	clients := l.conns.open - l.conns.members
	c.state = connHello
	c.session = wire.NewSession(wire.SessionConfig{
		Side: c.side, Accepts: true, Requests: l.cfg.Limits.Requests, Bytes: l.cfg.Limits.RequestBytes,
	}, l.now)
	l.conns.add(c)
	l.conns.waiting++
	if c.side == wire.ClientSide && clients >= l.cfg.Limits.Connections {
		l.hangUp(c, refuse(wire.CodeConnections, "%s has %d connections, the most it allows; close some or use another node", l.cfg.Name, l.cfg.Limits.Connections))
	}
	return gnet.None
}

// dropCaller makes room on the members' port: who has waited longest without a
// hello has to go, for a member says its own at once.
func (l *loop) dropCaller() bool {
	if len(l.conns.callers) == 0 {
		return false
	}
	l.counters.dropped++
	l.cut(l.conns.callers[0])
	return true
}

// traffic handles what a connection has sent: all whole frames at once, while
// they still lie in gnet's buffer. gnet keeps nothing of it: see hold.go.
func (l *loop) traffic(c *conn) gnet.Action {
	if c.state == connClosing {
		l.discardAll(c.gc)
		return gnet.None
	}
	if l.self == nil { // begin will come back
		return gnet.None
	}
	buf, err := c.gc.Peek(-1)
	if err != nil || len(buf) == 0 {
		return gnet.None
	}
	l.readClock()
	l.counters.bytesIn += uint64(len(buf))
	if l.frames(c, buf); c.state == connDead { // written to in between
		l.post()
		return gnet.None
	}
	l.discardAll(c.gc)
	l.account(c)
	l.post()
	return gnet.None
}

// frames handles the whole frames in what a connection holds and has sent now,
// and holds what is left: the beginning of a frame, or whole ones if it has to
// let others go first.
func (l *loop) frames(c *conn, buf []byte) {
	for len(buf) > 0 && c.takes() {
		n, yields := 0, false
		switch {
		case c.yields:
			n = len(buf)
			l.queue(c, buf)
		case len(c.in) > 0:
			n = min(len(buf), c.session.Need()-len(c.in))
			l.conns.hold(c, buf[:n], c.session.Need())
			var whole int
			if whole, yields = l.nextFrame(c, c.in); whole > 0 {
				l.conns.dropInput(c)
			}
		default:
			if n, yields = l.nextFrame(c, buf); n == 0 && !yields && c.takes() {
				n = len(buf)
				l.conns.hold(c, buf, c.session.Need())
			}
		}
		if yields {
			l.yield(c)
		}
		buf = buf[n:]
	}
}

// nextFrame handles the first frame of buf, if it is there, and returns its
// size, or that it has to wait: see turns.go.
func (l *loop) nextFrame(c *conn, buf []byte) (n int, yields bool) {
	if a, whole := peek(buf); whole && l.mustYield(c, a) {
		return 0, true
	}
	f, n, err := c.session.Next(buf)
	switch {
	case err != nil:
		l.breach(c, err)
	case n > 0:
		l.frame(c, f)
	}
	return n, false
}

func (l *loop) discardAll(gc gnet.Conn) {
	if gc.InboundBuffered() > 0 {
		_, _ = gc.Discard(-1)
	}
}

// frame handles one frame that the session let through.
func (l *loop) frame(c *conn, f wire.Frame) {
	switch {
	case c.state == connHello:
		l.hello(c, f)
	case c.side == wire.PeerSide:
		l.message(c, f)
	default:
		l.request(c, f)
	}
}

func (l *loop) hello(c *conn, f wire.Frame) {
	h, err := wire.ParseHello(f.Body)
	if err != nil {
		l.hangUp(c, refuse(wire.CodeBadFrame, "hello: %v", err))
		return
	}
	id, refusal := l.self.greet(c.side, &h)
	if refusal != nil {
		l.refused(c, h.Name, refusal)
		return
	}
	ack := l.self.ack(true)
	c.session.Accept(&ack)
	c.state = connOpen
	l.conns.waiting--
	if c.side == wire.PeerSide {
		l.conns.greeted(c)
		c.name, c.replica, c.peer = h.Name, h.Replica, id
		l.replaceIncoming(c)
		l.hint(h.Name, h.PeerAddr)
	}
	l.scratch = wire.AppendHelloAck(l.scratch[:0], &ack)
	l.conns.append(c, wire.AppendFrame(nil, wire.FrameHelloAck, f.ID, l.scratch))
}

// refused turns a caller away. At most one a second is worth a warning: anybody
// can call.
func (l *loop) refused(c *conn, name string, why *wire.Error) {
	level := slog.LevelDebug
	if l.now-l.warnedAt >= int64(time.Second) {
		l.warnedAt, level = l.now, slog.LevelWarn
	}
	l.log.Log(context.Background(), level, "connection refused", "event", "conn.refused",
		"from", c.gc.RemoteAddr().String(), "peer", name, "reason", why.Error())
	l.hangUp(c, why)
}

// replaceIncoming closes an older connection of the same member: it belongs to
// a process that is gone, or to a network path that is. If neither is, two
// nodes share an identity, and each is told so whenever the other calls.
func (l *loop) replaceIncoming(c *conn) {
	for _, old := range l.conns.slots {
		if old != nil && old != c && old.side == wire.PeerSide && old.state == connOpen && old.name == c.name {
			l.refused(old, old.name, refuse(wire.CodeWrongIdentity, "%s (replica %s) has called again, from %s, so this connection ends; if that happens again and again, its data folder was copied and two nodes run on it: stop one of them for good, now, for they vote twice", c.name, c.replica, c.gc.RemoteAddr()))
		}
	}
}

// identifyPeers looks at the members' connections again when the configuration
// has changed: who came while it was founded gets an id, who is no member, or
// is one with another folder, has to go.
func (l *loop) identifyPeers() {
	for _, c := range l.conns.slots {
		if c == nil || c.side != wire.PeerSide || c.state != connOpen {
			continue
		}
		m := l.self.members.FindName(c.name)
		if m == nil || !sameReplica(m, c.replica) {
			l.refused(c, c.name, refuse(wire.CodeWrongIdentity, "%s (replica %s) is not a member that %s knows: %s; check its name and the peer addresses", c.name, c.replica, l.self.name, memberNames(l.self.members)))
			continue
		}
		c.peer = m.ID
	}
}

// message hands a member's frame to the replica. While the cluster is being
// founded nobody can have anything to say.
func (l *loop) message(c *conn, f wire.Frame) {
	if l.rep == nil {
		return
	}
	l.event()
	if err := l.rep.Peer(c.peer, f); err != nil {
		l.refused(c, c.name, refuse(wire.CodeBadRequest, "%v", err))
	}
}

// request hands a client's frame to the replica, or answers it here if there is
// none yet or none any more.
func (l *loop) request(c *conn, f wire.Frame) {
	switch {
	case l.greedy(c) && f.Type != wire.FrameStatus:
		l.answerError(c, f, l.busy())
	case l.draining && f.Type != wire.FrameStatus:
		l.answerError(c, f, refuse(wire.CodeShutdown, "%s is shutting down: use another node", l.cfg.Name))
	case l.rep == nil && f.Type == wire.FrameStatus:
		st := wire.NodeStatus{Name: l.cfg.Name, Role: wire.RoleFollower, State: wire.StateOK}
		l.scratch = wire.AppendStatus(l.scratch[:0], &st)
		l.answer(c, f, wire.FrameStatusReply)
	case l.rep == nil:
		e := refuse(wire.CodeUnavailable, "the cluster is being founded: %s; start them, and see that they reach each other", l.foundingText())
		e.RetryAfterMs = 200
		l.answerError(c, f, e)
	default:
		l.event()
		l.asks(c, askOf(f))
		l.rep.Request(c.id, f)
	}
	l.makeRoom()
}

func (l *loop) answerError(c *conn, f wire.Frame, e *wire.Error) {
	l.counters.answered[replica.KindOther][e.Code]++
	l.scratch = wire.AppendError(l.scratch[:0], e)
	l.answer(c, f, wire.FrameError)
}

// answer sends l.scratch as the reply to a frame, from the shell itself.
func (l *loop) answer(c *conn, f wire.Frame, t wire.FrameType) {
	c.session.Replied(f.Size)
	l.conns.append(c, wire.AppendFrame(nil, t, f.ID, l.scratch))
}

// breach ends a connection that broke the protocol.
func (l *loop) breach(c *conn, err error) {
	l.log.Debug("connection broke the protocol", "event", "conn.breach", "from", c.gc.RemoteAddr().String(), "err", err)
	l.hangUp(c, wire.AsError(err))
}

// hangUp sends why and closes once the other side has had time to read it: a
// close with unread input would reset the connection and lose the reason.
func (l *loop) hangUp(c *conn, why *wire.Error) {
	if c.state == connClosing || c.state == connDead {
		return
	}
	if c.state == connOpen {
		l.conns.waiting++
	}
	c.state = connClosing
	c.until = l.now + lingerNanos
	l.conns.greeted(c)
	l.conns.dropInput(c)
	l.counters.closed[why.Code]++
	l.scratch = wire.AppendError(l.scratch[:0], why)
	l.conns.append(c, wire.AppendFrame(nil, wire.FrameError, 0, l.scratch))
	l.post()
}

// cut closes a connection now. OnClose runs inside.
func (l *loop) cut(c *conn) {
	if c.state != connDead {
		_ = l.el.Close(c.gc)
	}
}

// closed is OnClose's part for an accepted connection. It may run inside our
// own Write, so it only takes notes.
func (l *loop) closed(c *conn) {
	if c.state == connDead {
		return
	}
	if c.state != connOpen {
		l.conns.waiting--
	}
	c.state = connDead
	l.pending -= c.pending
	c.pending, c.bytes = 0, 0
	l.weigh(c)
	l.conns.remove(c)
	c.port.left()
}

// flush gives every connection that has something to say its one write.
func (l *loop) flush() {
	for i := 0; i < len(l.conns.dirty); i++ {
		c := l.conns.dirty[i]
		l.conns.dirty[i] = nil
		c.dirty = false
		l.write(c)
	}
	l.conns.dirty = l.conns.dirty[:0]
	l.conns.unsent = 0
}

func (l *loop) write(c *conn) {
	if c.state == connDead || len(c.out) == 0 {
		return
	}
	n := len(c.out)
	_, err := c.gc.Write(c.out)
	if err != nil || c.state == connDead { // OnClose has run
		return
	}
	l.counters.bytesOut += uint64(n)
	l.conns.giveBack(c)
	if c.state == connClosing {
		if c.gc.OutboundBuffered() == 0 {
			_ = unix.Shutdown(c.gc.Fd(), unix.SHUT_WR)
		}
		return
	}
	l.account(c)
	if c.state == connOpen && c.gc.OutboundBuffered() > l.cfg.Limits.OutboundBytes {
		l.hangUp(c, refuse(wire.CodeSlowReader, "more than %d bytes of replies were left unread: read faster or ask for less at a time", l.cfg.Limits.OutboundBytes))
	}
}

// sweep looks at connections that must not stay as they are: without a hello,
// or told to go. It runs about ten times a second.
func (l *loop) sweep() {
	l.relieve()
	if l.conns.waiting == 0 {
		return
	}
	for _, c := range l.conns.slots {
		switch {
		case c == nil:
		case c.state == connHello && c.session.Expired(l.now):
			l.hangUp(c, refuse(wire.CodeHelloTimeout, "no hello within %v: the caller speaks first", time.Duration(wire.HelloTimeoutNanos)))
		case c.state == connClosing && l.now >= c.until:
			l.cut(c)
		}
	}
}
