package sim

import (
	"fmt"
	"math/rand/v2"

	"github.com/dnode-engine/dnode/node/replica"
	"github.com/dnode-engine/dnode/wire"
)

// Op is one operation as its client saw it.
type Op struct {
	Client  int
	Read    bool
	Lease   bool // a read at lease level: as good, on clocks of equal speed
	Key     string
	Command []byte // writes: as sent
	Call    int64
	Return  int64 // zero: never answered
	// Outcome of a write: exactly one of Acked, Failed or neither (unknown).
	Acked    bool
	Failed   bool // certainly not carried out
	Revision wire.Index
	Result   []byte
}

// load is the clients. Each has one operation in flight.
type load struct {
	c       *Cluster
	rand    *rand.Rand
	clients []simClient
	history []Op
	scratch []byte
	// readOnly is the very end: each client asks until one read was answered.
	readOnly bool
}

type simClient struct {
	target  int // node that is asked
	asking  int // node that the operation in flight was sent to
	op      int // position in history
	id      uint64
	waiting bool
	loyal   bool // asks on where it is not answered
	reader  bool // never writes: a leader that is cut off does not keep it waiting
	lease   bool // and reads at lease level only
	asked   bool // recovery: was answered
}

func newLoad(c *Cluster) *load {
	l := &load{c: c, rand: stream(c.opt.Seed, streamLoad), clients: make([]simClient, c.opt.Clients)}
	for i := range l.clients {
		l.clients[i].target = l.rand.IntN(c.opt.Nodes)
		cl := &l.clients[i]
		cl.loyal = l.rand.IntN(100) < c.opt.Loyal
		cl.reader = i > 0 && l.rand.IntN(100) < c.opt.Readers
		cl.lease = cl.reader && l.rand.IntN(100) < c.opt.Leases
	}
	return l
}

// next sends the client's next operation.
func (l *load) next(client int) {
	cl := &l.clients[client]
	if cl.waiting || l.c.quiet && !l.readOnly {
		return
	}
	cl.id++
	cl.op = len(l.history)
	cl.waiting = true
	if !cl.loyal && l.rand.IntN(100) < l.c.opt.Roaming {
		cl.target = l.rand.IntN(l.c.opt.Nodes)
	}
	op := Op{Client: client, Key: fmt.Sprintf("k%d", l.rand.IntN(l.c.opt.Keys)), Call: l.c.now}
	unique := fmt.Appendf(nil, "%d-%d", client, cl.id)
	if l.readOnly || cl.reader || l.rand.IntN(100) < l.c.opt.Reads {
		op.Read = true
		op.Lease = !l.readOnly && (cl.lease || l.rand.IntN(100) < l.c.opt.Leases)
	} else {
		op.Command = l.command([]byte(op.Key), unique)
	}
	l.history = append(l.history, op)
	l.send(client)
	l.c.at(l.c.opt.TimeoutNanos, event{kind: evTimeout, client: client, op: cl.id})
}

// command draws a write: mostly puts.
func (l *load) command(key, unique []byte) []byte {
	switch l.rand.IntN(7) {
	case 0:
		return deletion(key, unique)
	case 1:
		return wire.AppendCAS(nil, wire.Command{Mode: wire.CASAbsent, Key: key, Expected: nil, Value: unique})
	}
	size := l.rand.IntN(l.c.opt.ValueBytes)
	if l.c.opt.ValueBytes > 4096 && l.rand.IntN(8) > 0 {
		size %= 256
	}
	for len(unique) < size {
		unique = append(unique, "................................"...)
	}
	return wire.AppendPut(nil, key, unique)
}

// deletion is a batch that deletes a key, and another that never was: so no two
// commands of a history are the same.
func deletion(key, unique []byte) []byte {
	b := wire.AppendBatchHeader(nil, 2)
	b = wire.AppendBatchItem(b, wire.AppendDelete(nil, key))
	return wire.AppendBatchItem(b, wire.AppendDelete(nil, unique))
}

func (l *load) send(client int) {
	cl := &l.clients[client]
	op := &l.history[cl.op]
	var frame []byte
	if op.Read {
		level := wire.Linearizable
		if op.Lease {
			level = wire.Lease
		}
		body := wire.AppendRead(l.scratch[:0], level, wire.AppendGet(nil, []byte(op.Key)))
		frame = wire.AppendFrame(nil, wire.FrameRead, cl.id, body)
	} else {
		body := wire.AppendWrite(l.scratch[:0], wire.Stamp{}, op.Command)
		frame = wire.AppendFrame(nil, wire.FrameWrite, cl.id, body)
	}
	cl.asking = cl.target
	l.c.at(l.c.net.delay(), event{kind: evRequest, node: cl.target, client: client, data: frame})
}

// hungUp tells whoever waits for a node that its connection is gone.
func (l *load) hungUp(n *node) {
	for i := range l.clients {
		if cl := &l.clients[i]; cl.waiting && cl.asking == n.index {
			cl.target = l.rand.IntN(l.c.opt.Nodes)
			l.c.at(20*millisecond, event{kind: evTimeout, client: i, op: cl.id})
		}
	}
}

// reply takes a frame that a node sent to the client.
func (l *load) reply(client int, frame []byte) {
	cl := &l.clients[client]
	f, err := wire.ParseFrame(frame, wire.MaxFrameBytes)
	if err != nil {
		l.c.fail(fmt.Errorf("node sent a bad frame to a client: %w", err))
		return
	}
	if !cl.waiting || f.ID != cl.id {
		return
	}
	op := &l.history[cl.op]
	op.Return = l.c.now
	switch f.Type {
	case wire.FrameWriteReply, wire.FrameReadReply:
		rev, result, err := wire.ParseReply(f.Body)
		l.c.fail(err)
		op.Acked, op.Revision, op.Result = true, rev, append([]byte(nil), result...)
		if op.Read {
			l.c.stats.Reads++
		} else {
			l.c.stats.Acked++
		}
	case wire.FrameError:
		e, err := wire.ParseError(f.Body)
		l.c.fail(err)
		if e != nil {
			l.refused(cl, op, e)
		}
	default:
		l.c.fail(fmt.Errorf("node sent frame type %d to a client", f.Type))
	}
	cl.waiting = false
	if l.readOnly && op.Acked {
		cl.asked = true
		return
	}
	l.think(client)
}

func (l *load) refused(cl *simClient, op *Op, e *wire.Error) {
	switch e.Code {
	case wire.CodeUnknown:
		op.Return = 0
		l.c.stats.Unknown++
	case wire.CodeNotLeader:
		op.Failed = true
		l.c.stats.Refused++
		if m := l.c.nodeAt(e.Leader); m >= 0 {
			cl.target = m
			return
		}
		cl.target = l.rand.IntN(l.c.opt.Nodes)
	case wire.CodeUnavailable, wire.CodeBusy, wire.CodeFenced, wire.CodeNoSpace:
		op.Failed = true
		l.c.stats.Refused++
		cl.target = l.rand.IntN(l.c.opt.Nodes)
	default:
		l.c.fail(fmt.Errorf("node refused a correct request: %w", e))
	}
}

// nodeAt returns the node that takes clients at the given address, or -1.
func (c *Cluster) nodeAt(addr string) int {
	for i := range c.peers.Members {
		if c.peers.Members[i].ClientAddr == addr {
			return i
		}
	}
	return -1
}

// timeout gives up on an operation, or has lost its connection: its outcome stays
// unknown.
func (l *load) timeout(client int, id uint64) {
	cl := &l.clients[client]
	if !cl.waiting || cl.id != id {
		return
	}
	if !l.history[cl.op].Read {
		l.c.stats.Unknown++
	}
	cl.waiting = false
	if !cl.loyal || l.readOnly {
		cl.target = l.rand.IntN(l.c.opt.Nodes)
	}
	l.think(client)
}

func (l *load) think(client int) {
	l.c.at(int64(l.rand.ExpFloat64()*float64(l.c.opt.ThinkNanos)), event{kind: evNext, client: client})
}

// conn is the connection id of a client to a node.
func conn(client int) replica.ConnID { return replica.ConnID(client + 1) }
