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
}

type simClient struct {
	target  int // node that is asked
	op      int // position in history
	id      uint64
	waiting bool
}

const clientTimeout = 500 * millisecond

func newLoad(c *Cluster) *load {
	l := &load{c: c, rand: stream(c.opt.Seed, streamLoad), clients: make([]simClient, c.opt.Clients)}
	for i := range l.clients {
		l.clients[i].target = l.rand.IntN(c.opt.Nodes)
	}
	return l
}

// next sends the client's next operation.
func (l *load) next(client int) {
	cl := &l.clients[client]
	if l.c.quiet || cl.waiting {
		return
	}
	cl.id++
	cl.op = len(l.history)
	cl.waiting = true
	op := Op{Client: client, Key: fmt.Sprintf("k%d", l.rand.IntN(l.c.opt.Keys)), Call: l.c.now}
	unique := fmt.Appendf(nil, "%d-%d", client, cl.id)
	for range l.rand.IntN(8) {
		unique = append(unique, "................................"...)
	}
	key := []byte(op.Key)
	switch l.rand.IntN(10) {
	case 0, 1, 2:
		op.Read = true
		op.Lease = l.rand.IntN(3) == 0
	case 3:
		op.Command = deletion(key, unique)
	case 4:
		op.Command = wire.AppendCAS(nil, wire.Command{Mode: wire.CASAbsent, Key: key, Expected: nil, Value: unique})
	default:
		op.Command = wire.AppendPut(nil, key, unique)
	}
	l.history = append(l.history, op)
	l.send(client)
	l.c.at(clientTimeout, event{kind: evTimeout, client: client, op: cl.id})
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
	l.c.at(l.c.net.delay(), event{kind: evRequest, node: cl.target, client: client, data: frame})
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

// timeout gives up on an operation: its outcome stays unknown.
func (l *load) timeout(client int, id uint64) {
	cl := &l.clients[client]
	if !cl.waiting || cl.id != id {
		return
	}
	if !l.history[cl.op].Read {
		l.c.stats.Unknown++
	}
	cl.waiting = false
	cl.target = l.rand.IntN(l.c.opt.Nodes)
	l.think(client)
}

func (l *load) think(client int) {
	l.c.at(int64(l.rand.ExpFloat64()*float64(20*millisecond)), event{kind: evNext, client: client})
}

// conn is the connection id of a client to a node.
func conn(client int) replica.ConnID { return replica.ConnID(client + 1) }
