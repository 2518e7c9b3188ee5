package sim

import (
	"fmt"
	"math/rand/v2"

	"github.com/dnode-engine/dnode/client"
	"github.com/dnode-engine/dnode/wire"
)

// Op is one operation as its client saw it, however often it was sent.
type Op struct {
	Client  int
	Read    bool
	Scan    bool             // a read of a range
	Odd     oddity           // neither
	Level   wire.Consistency // of a read
	Key     string           // or the first that comes to mind: the command or the query has them all
	Query   []byte           // reads: as sent
	Command []byte           // writes: as sent
	Call    int64
	Return  int64 // zero: never answered
	// Outcome of a write: exactly one of Acked, Failed or neither (unknown).
	Acked    bool
	Failed   bool // certainly not carried out
	Revision wire.Index
	Result   []byte

	place int        // of Key in load.keys
	floor wire.Index // the highest revision that anybody knew when it was called
}

// load is the clients.
type load struct {
	c       *Cluster
	rand    *rand.Rand
	decide  func(client.Attempt) client.Decision // the library's
	clients []simClient
	history []Op
	keys    []string
	demand  demand
	hushed  int64 // until then nobody writes

	arena     []byte // what the history refers to
	body, out []byte // of the request that is being sent
}

func newLoad(c *Cluster) *load {
	l := &load{c: c, rand: stream(c.opt.Seed, streamLoad), decide: client.Decide, clients: make([]simClient, c.opt.Clients)}
	for i := range c.opt.Keys {
		l.keys = append(l.keys, fmt.Sprintf("k%03d", i)) // sorted
	}
	for i := range l.clients {
		cl := &l.clients[i]
		*cl = simClient{
			index: i, home: l.rand.IntN(c.opt.Nodes), any: l.rand.IntN(c.opt.Nodes),
			lines: make([]line, c.opt.Nodes), flights: make([]flight, max(c.opt.Depth, 1)),
			seen: make([]wire.Item, c.opt.Keys),
		}
		cl.loyal = l.rand.IntN(100) < c.opt.Loyal
		cl.reader = i > 0 && l.rand.IntN(100) < c.opt.Readers
		cl.lease = cl.reader && l.rand.IntN(100) < c.opt.Leases
	}
	return l
}

// demand says what the clients ask for.
type demand uint8

const (
	anything   demand = iota
	onlyReads         // the very end: each client asks until one read was answered
	onlyWrites        // and then until one write was
)

// insist makes each client ask until it gets one answer.
func (l *load) insist(d demand) {
	l.demand = d
	for i := range l.clients {
		l.clients[i].asked = false
	}
	l.begin()
}

// unanswered names a client that insists in vain.
func (l *load) unanswered() error {
	for i := range l.clients {
		if l.demand != anything && !l.clients[i].asked {
			return fmt.Errorf("liveness: client %d gets no answer to a %s", i, [...]string{"", "read", "write"}[l.demand])
		}
	}
	return nil
}

// begin sends the first operations.
func (l *load) begin() {
	for i := range l.clients {
		for slot := range l.clients[i].flights {
			l.c.at(millisecond*int64(i), event{kind: evNext, client: i, read: slot})
		}
	}
}

// stop gives up what was not sent yet: nothing new reaches the nodes.
func (l *load) stop() {
	for i := range l.clients {
		cl := &l.clients[i]
		for slot := range cl.flights {
			if f := &cl.flights[slot]; f.phase == queued || f.phase == waiting {
				l.timeout(cl, slot, f.id)
			}
		}
	}
}

// handle takes an event of a client.
func (l *load) handle(e *event) {
	cl := &l.clients[e.client]
	switch e.kind {
	case evNext:
		l.next(cl, e.read)
	case evRetry:
		l.retry(cl, e.read, e.op)
	case evCall:
		l.call(cl, e.node)
	default:
		l.timeout(cl, e.read, e.op)
	}
}

// next sends the client's next operation.
func (l *load) next(cl *simClient, slot int) {
	if cl.flights[slot].phase != idle || l.c.quiet && (l.demand == anything || cl.asked) {
		return
	}
	cl.last++
	cl.flights[slot] = flight{op: len(l.history), id: cl.last, deadline: l.c.now + l.c.opt.TimeoutNanos}
	if !cl.loyal && l.rand.IntN(100) < l.c.opt.Roaming {
		cl.home = l.rand.IntN(l.c.opt.Nodes)
	}
	l.history = append(l.history, l.draw(cl))
	l.dispatch(cl, slot)
	l.c.at(l.c.opt.TimeoutNanos, event{kind: evTimeout, client: cl.index, read: slot, op: cl.last})
}

// keep copies bytes to where the history may refer to them.
func (l *load) keep(b []byte) []byte {
	if len(l.arena)+len(b) > cap(l.arena) {
		l.arena = make([]byte, 0, max(64<<10, len(b)))
	}
	at := len(l.arena)
	l.arena = append(l.arena, b...)
	return l.arena[at:len(l.arena):len(l.arena)]
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

func (l *load) think(cl *simClient, slot int) {
	mean := l.c.opt.ThinkNanos
	if l.c.quiet { // there is not for ever to be answered
		mean = min(mean, 100*millisecond)
	}
	l.c.at(int64(l.rand.ExpFloat64()*float64(mean)), event{kind: evNext, client: cl.index, read: slot})
}
