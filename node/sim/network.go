package sim

import "math/rand/v2"

// network carries bytes between processes: between nodes as byte streams or, in
// its hostile form, as datagrams that are lost, doubled and overtaken one by one;
// between clients and nodes always as streams, which are never cut off.
type network struct {
	c    *Cluster
	rand *rand.Rand
	opt  Options
	cut  Links
	// On the delayed links each message takes lag longer.
	delayed Links
	lag     int64

	conns    []*conn // by slot
	free     []uint64
	made     uint64
	links    [maxNodes * maxNodes]peerLink // by caller and callee
	incoming [maxNodes * maxNodes]uint64   // connections, by callee and caller
}

func newNetwork(c *Cluster) network {
	return network{c: c, rand: stream(c.opt.Seed, streamNetwork), opt: c.opt}
}

// handle takes an event of a connection.
func (w *network) handle(e *event) {
	c := w.get(e.op)
	switch {
	case c == nil:
	case e.kind == evEnd:
		w.over(e)
	case e.kind == evHello:
		w.expired(c, e.from)
	case e.kind == evSilence:
		w.silent(c)
	case e.node < 0:
		w.arrive(c, e.from, e.read)
	default:
		w.c.deliver(e)
	}
}

// delay draws the time that one message takes.
func (w *network) delay() int64 {
	d := 50*microsecond + int64(w.rand.ExpFloat64()*float64(100*microsecond))
	if w.opt.TailDelay > 0 && w.rand.Float64() < w.opt.TailDelay {
		d *= 1 + w.rand.Int64N(w.opt.TailFactor)
	}
	return d
}

// deliveries returns after which delays a message between nodes arrives: none
// if it is lost, two if it is duplicated.
func (w *network) deliveries(from, to int) (delays [2]int64, n int) {
	lag := int64(0)
	if w.delayed.has(from, to) {
		lag = w.lag
	}
	delays = [2]int64{lag + w.delay(), lag + w.delay()}
	lost := w.rand.Float64() < w.opt.Loss
	twice := w.rand.Float64() < w.opt.Duplicate
	switch {
	case lost || w.cut.has(from, to):
		return delays, 0
	case twice:
		return delays, 2
	default:
		return delays, 1
	}
}

// partition draws links to cut: those of one node, between two halves, of a
// leader with a minority, a single direction, or random ones.
func (w *network) partition(r *rand.Rand, leader int) Links {
	n := w.opt.Nodes
	var side [maxNodes]bool
	switch r.IntN(5) {
	case 0:
		side[r.IntN(n)] = true
	case 1:
		for i := range n {
			side[i] = r.IntN(2) == 0
		}
	case 2:
		if leader >= 0 {
			side[leader] = true
		}
		for k := r.IntN(max(1, (n+1)/2)); k > 0; k-- {
			side[r.IntN(n)] = true
		}
	case 3:
		return link(r.IntN(n), r.IntN(n))
	default:
		var some Links
		for from := range n {
			for to := range n {
				if r.IntN(3) == 0 {
					some |= link(from, to)
				}
			}
		}
		return some
	}
	return between(n, func(i int) bool { return side[i] }, r.IntN(4) == 0)
}

func (w *network) heal() {
	w.cut, w.delayed = 0, 0
	w.mended()
}

// calm ends all faults of the network.
func (w *network) calm() {
	w.heal()
	w.opt.Loss, w.opt.Duplicate, w.opt.TailDelay = 0, 0, 0
}
