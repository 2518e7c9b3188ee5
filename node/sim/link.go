package sim

import (
	"fmt"

	"github.com/dnode-engine/dnode/wire"
)

// Links between nodes, as the shell keeps them: each node calls every other one,
// says all that it has to say over that connection, and hears by those that the
// others have made. The times are the shell's.
const (
	dialTimeout  = second
	linkRetryMin = 20 * millisecond
	linkRetryMax = second
)

// peerLink is one node's connection to another.
type peerLink struct {
	conn   uint64 // zero: none
	up     bool   // the hello was answered
	told   uint64 // the connection that the replica knows of
	wait   int64  // before the next attempt
	called int64  // when the last one began
}

func (w *network) link(from, to int) *peerLink { return &w.links[from*maxNodes+to] }

// dial calls another node.
func (w *network) dial(n *node, to int) {
	k := w.link(n.index, to)
	if k.conn != 0 {
		return
	}
	k.called = w.c.now
	if w.cut.has(n.index, to) || w.cut.has(to, n.index) {
		w.redial(n, to, dialTimeout)
		return
	}
	if !w.c.nodes[to].up {
		w.redial(n, to, 2*w.delay())
		return
	}
	c := w.connect(wire.PeerSide, n.index, to)
	k.conn = c.id
	me := &w.c.peers.Members[n.index]
	w.write(c, caller, wire.AppendFrame(nil, wire.FrameHello, 0, wire.AppendHello(nil, &wire.Hello{
		Version: wire.Version, MinVersion: wire.MinVersion, Side: wire.PeerSide, Cluster: n.cluster,
		Name: me.Name, To: w.c.peers.Members[to].Name, Replica: me.Replica, PeerAddr: me.PeerAddr, ClientAddr: me.ClientAddr,
	})))
}

// redial waits before it calls again, longer each time.
func (w *network) redial(n *node, to int, spent int64) {
	k := w.link(n.index, to)
	if k.wait == 0 || w.c.now-k.called > 2*linkRetryMax {
		k.wait = linkRetryMin
	}
	n.later(spent+k.wait/2+w.rand.Int64N(k.wait), event{kind: evDial, from: to})
	k.wait = min(2*k.wait, linkRetryMax)
}

// greet takes the hello of a caller.
func (w *network) greet(c *conn, f wire.Frame) {
	h, err := wire.ParseHello(f.Body)
	if err != nil {
		w.c.fail(fmt.Errorf("node %d got a bad hello: %w", c.callee+1, err))
		return
	}
	version, refusal := wire.Negotiate(&h)
	n, me := w.c.nodes[c.callee], &w.c.peers.Members[c.callee]
	if refusal != nil || h.Side != c.side || h.To != "" && h.To != me.Name || !h.Cluster.IsZero() && !n.cluster.IsZero() && h.Cluster != n.cluster {
		w.c.fail(fmt.Errorf("node %d got the hello %+v: %w", n.id, h, refusal))
		return
	}
	if c.side == wire.PeerSide {
		if m := w.c.peers.FindName(h.Name); m == nil || int(m.ID) != c.caller+1 || m.Replica != h.Replica {
			w.c.fail(fmt.Errorf("node %d was called by %+v", n.id, h))
			return
		}
		old := &w.incoming[c.callee*maxNodes+c.caller]
		if was := w.get(*old); was != nil {
			w.hangUp(was, callee) // of a process that is gone, or a path that is
		}
		*old = c.id
	}
	ack := wire.HelloAck{Version: version, Cluster: n.cluster, Name: me.Name, Replica: me.Replica, ClientAddr: me.ClientAddr, Member: true}
	c.end[callee].session.Accept(&ack)
	c.end[callee].open = true
	w.write(c, callee, wire.AppendFrame(nil, wire.FrameHelloAck, f.ID, wire.AppendHelloAck(nil, &ack)))
}

// greeted takes the answer to a hello.
func (w *network) greeted(c *conn, f wire.Frame) {
	ack, err := wire.ParseHelloAck(f.Body)
	if err == nil && ack.Name != w.c.peers.Members[c.callee].Name {
		err = fmt.Errorf("it is of %q", ack.Name)
	}
	if err != nil {
		w.c.fail(fmt.Errorf("node %d answered hello with a frame of type %d: %w", c.callee+1, f.Type, err))
		return
	}
	c.end[caller].session.Opened()
	c.end[caller].open = true
	if c.side == wire.ClientSide {
		w.c.load.opened(&w.c.load.clients[c.caller], c.callee, &ack)
		return
	}
	w.link(c.caller, c.callee).up = true
	w.c.nodes[c.caller].later(0, event{kind: evLink, from: c.callee})
}

// linkDown forgets a node's link and calls again.
func (w *network) linkDown(c *conn) {
	n, k := w.c.nodes[c.caller], w.link(c.caller, c.callee)
	if k.conn != c.id {
		return
	}
	k.conn, k.up = 0, false
	w.c.stats.LinksLost++
	n.later(0, event{kind: evLink, from: c.callee})
	w.redial(n, c.callee, 0)
}

// say writes frames to a node's link, or drops them if it is down. A link whose
// queue is full is cut.
func (w *network) say(from, to int, b []byte) {
	k := w.link(from, to)
	if !k.up {
		return
	}
	c := w.get(k.conn)
	w.write(c, caller, b)
	if p := &c.way[caller]; len(p.buf)-p.came > w.opt.QueueBytes {
		w.c.stats.LinksFull++
		w.hangUp(c, caller)
	}
}

// tellLink tells the replica what has become of a link: that one was lost, that
// one came up, or first one and then the other.
func (n *node) tellLink(to int) {
	k := n.c.net.link(n.index, to)
	now := k.conn
	if !k.up {
		now = 0
	}
	if now == k.told {
		return
	}
	m := &n.c.peers.Members[to]
	if k.told != 0 {
		n.rep.PeerDown(m.ID)
	}
	if now != 0 {
		n.rep.PeerUp(m.ID, m.ClientAddr)
	}
	k.told = now
}
