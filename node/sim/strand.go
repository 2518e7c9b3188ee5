package sim

import (
	"fmt"
	"strings"
)

// strand leaves one node behind in a term of its own, as the last thing that
// happens to the cluster: the leader stands still for longer than the others wait
// for it, the first candidate is cut off when its vote is on its disk and nobody
// has been asked, and then the leader goes on. What is left of the others must be
// too few to elect anybody.
func (c *Cluster) strand() {
	lead := c.leaderNode()
	if c.quiet || lead < 0 || c.opt.Nodes < 3 || c.opt.Nodes > 4 {
		return
	}
	c.siege = c.opt.LoadNanos
	c.strike(Fault{Kind: FaultHeal})
	c.strike(Fault{Kind: FaultPause, Node: lead, Nanos: c.opt.electionNanos() * 12 / 5})
	c.armed = event{kind: evStrand}
}

// strandAfter is how many election timeouts before the faults end a node is
// stranded: soon enough for an election, and too late for another to help it.
const strandAfter = 6

// campaigned is told of every node that asks for votes, before anything has left.
func (c *Cluster) campaigned(n *node) {
	if c.armed.kind == evStrand && !c.quiet {
		c.armed = event{}
		c.isolate(func(i int) bool { return i == n.index }, false)
	}
}

// asserted turns a failed assertion of the product into the run's error, so that
// it has a seed like any other. Other panics are defects of the simulator itself.
func (c *Cluster) asserted() {
	p := recover()
	if p == nil {
		return
	}
	text := fmt.Sprint(p)
	if !strings.HasPrefix(text, "BUG: ") {
		panic(fmt.Sprintf("seed %d at %.6f s: %s", c.opt.Seed, float64(c.now)/float64(second), text))
	}
	c.fail(fmt.Errorf("assertion: %s", text))
}
