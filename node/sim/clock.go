package sim

// clock is a machine's clock as the shell reads it: it counts from a start of
// its own, goes on while the process stands still or the machine sleeps, and never
// goes back but with the machine's next start. It may run fast or slow, within
// bounds that leases allow for. That is what the boot-time clock of a machine
// promises. A leap ahead of real time is beyond the promise: leases do not survive
// it, and everything else must.
type clock struct {
	offset int64
	drift  int64 // fast by so many millionths
}

// boot draws what a start of the machine changes.
func (k *clock) boot(c *Cluster) {
	k.offset = c.clocks.Int64N(1000 * second)
	k.drift = 0
	if d := c.opt.DriftPPM; d > 0 {
		k.drift = c.clocks.Int64N(2*d) - d
	}
}

// now is the time as this node knows it.
func (n *node) now() int64 { return n.clock.offset + n.c.now + n.c.now/1_000_000*n.clock.drift }

// clockGrain is more than a slow clock falls back, at every millisecond.
const clockGrain = 100 * microsecond

// tick feeds the ticks that are due, as the shell does: after a pause not all.
func (n *node) tick() {
	due := (n.now() - n.ticked) / n.c.opt.TickNanos
	n.ticked += due * n.c.opt.TickNanos
	most := int64(n.c.opt.ElectionTicks / 2)
	for range min(due, most) {
		n.rep.Tick()
	}
	if due > most { // it was stopped
		n.heard = n.c.now
		for i := range n.since {
			if n.since[i] != 0 {
				n.since[i] = n.c.now
			}
		}
	}
	n.c.fail(n.c.check.quorum(n))
	n.tickSpace()
	n.later(n.c.opt.TickNanos, event{kind: evTick})
}

// pause stops one process, or its whole machine, for a while, the leader more
// often than others.
func (c *Cluster) pause(kind FaultKind) {
	target := c.faults.IntN(len(c.nodes))
	if lead := c.leaderNode(); lead >= 0 && c.faults.IntN(2) == 0 {
		target = lead
	}
	if c.nodes[target].up {
		c.strike(Fault{Kind: kind, Node: target, Nanos: int64(c.faults.ExpFloat64() * float64(700*millisecond))})
	}
}

// step lets the clock of one node, or of several, leap ahead.
func (c *Cluster) step() {
	for i := range c.nodes {
		if c.faults.IntN(len(c.nodes)) == 0 {
			c.strike(Fault{Kind: FaultStep, Node: i, Nanos: int64(c.faults.ExpFloat64() * float64(c.opt.electionNanos()))})
		}
	}
}
