package sim

import "math/rand/v2"

// network decides when, and whether, bytes arrive. Place i is node i; clients
// share the place after the last node and are never cut off from any node.
type network struct {
	rand *rand.Rand
	opt  Options
	cut  []bool  // cut[from*nodes+to]
	lag  []int64 // likewise, what each message takes longer
}

func newNetwork(opt Options) network {
	return network{rand: stream(opt.Seed, streamNetwork), opt: opt, cut: make([]bool, opt.Nodes*opt.Nodes), lag: make([]int64, opt.Nodes*opt.Nodes)}
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
	lag := w.lag[from*w.opt.Nodes+to]
	delays = [2]int64{lag + w.delay(), lag + w.delay()}
	lost := w.rand.Float64() < w.opt.Loss
	twice := w.rand.Float64() < w.opt.Duplicate
	switch {
	case lost || w.cut[from*w.opt.Nodes+to]:
		return delays, 0
	case twice:
		return delays, 2
	default:
		return delays, 1
	}
}

// partition cuts links: one node off, two halves, a leader with a minority, a
// single direction, or random links.
func (w *network) partition(r *rand.Rand, leader int) {
	n := w.opt.Nodes
	kind := r.IntN(5)
	side := make([]bool, n)
	switch kind {
	case 0:
		side[r.IntN(n)] = true
	case 1:
		for i := range side {
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
		w.cut[r.IntN(n)*n+r.IntN(n)] = true
		return
	default:
		for i := range w.cut {
			w.cut[i] = r.IntN(3) == 0
		}
		return
	}
	oneWay := r.IntN(4) == 0
	for from := range n {
		for to := range n {
			if side[from] != side[to] && (!oneWay || side[from]) {
				w.cut[from*n+to] = true
			}
		}
	}
}

func (w *network) heal() {
	clear(w.cut)
	clear(w.lag)
}

// calm ends all faults of the network.
func (w *network) calm() {
	w.heal()
	w.opt.Loss, w.opt.Duplicate, w.opt.TailDelay = 0, 0, 0
}
