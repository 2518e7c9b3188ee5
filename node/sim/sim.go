package sim

import (
	"fmt"
	"math/rand/v2"

	"github.com/dnode-engine/dnode/wire"
)

// Cluster is one simulated run.
type Cluster struct {
	opt    Options
	now    int64
	events heap
	nodes  []*node
	peers  wire.Membership
	load   *load
	check  *checker
	net    network
	faults *rand.Rand
	disks  *rand.Rand
	clocks *rand.Rand
	rot    *rand.Rand
	atlas  atlas
	record []Fault // what the nemesis did
	plan   []Fault // what it has decided to do
	trace  trace
	quiet  bool  // faults and load have stopped
	armed  event // the trap that is laid
	looked int64 // when it was last seen whether the cluster has settled
	busy   int   // events within the present second
	siege  int64 // until when the nemesis lets a strike of its own take effect
	stats  Stats
	err    error

	scratch []byte // of readers of whole logs
}

// New builds a cluster that has not begun to run.
func New(opt Options) *Cluster {
	opt.product()
	c := &Cluster{
		opt:    opt,
		faults: stream(opt.Seed, streamFaults),
		disks:  stream(opt.Seed, streamDisk),
		clocks: stream(opt.Seed, streamClock),
		rot:    rand.New(rand.NewPCG(opt.Seed, streamDiskFaults)), // not the stream that chose the options
		atlas:  atlas{beyond: opt.Beyond, nodes: make([]struckNode, opt.Nodes)},
		check:  newChecker(opt.Nodes),
		trace:  trace{tell: opt.Log},
	}
	c.net = newNetwork(c)
	for i := range opt.Nodes {
		c.peers.Members = append(c.peers.Members, wire.Member{
			ID: wire.NodeID(i + 1), Name: fmt.Sprintf("n%d", i+1),
			Replica: wire.ReplicaID{byte(i + 1)}, Role: wire.Voter,
			PeerAddr: fmt.Sprintf("n%d:7401", i+1), ClientAddr: fmt.Sprintf("n%d:7400", i+1),
		})
	}
	c.peers.NextID = wire.NodeID(opt.Nodes + 1)
	for i := range opt.Nodes {
		c.nodes = append(c.nodes, newNode(c, i))
	}
	c.load = newLoad(c)
	return c
}

// Run runs the whole life of the cluster and returns what it did. The error
// names the first violated property and the virtual time.
func Run(opt Options) (Stats, error) {
	c := New(opt)
	c.run()
	c.stats.VirtualSecs = float64(c.now) / float64(second)
	c.stats.Hash = c.trace.hash ^ c.trace.faults
	c.counted()
	c.stats.Committed = wire.Index(len(c.check.committed))
	if c.err != nil {
		return c.stats, fmt.Errorf("seed %d at %.6f s: %w", opt.Seed, c.stats.VirtualSecs, c.err)
	}
	return c.stats, nil
}

func (c *Cluster) run() {
	defer c.asserted()
	for i := range c.nodes {
		c.nodes[i].start()
	}
	c.load.begin()
	c.nextFault()
	c.nextDiskFault()
	c.replay()
	if c.opt.Strand && !c.opt.Replay {
		c.at(c.opt.LoadNanos-strandAfter*c.opt.electionNanos(), event{kind: evStrand})
	}
	c.until(c.opt.LoadNanos)
	if c.err != nil {
		return
	}
	c.calm()
	c.settle()
	c.check.recovers(c)
	if c.err == nil {
		c.fail(c.check.final(c))
	}
}

// settle gives the cluster time to converge, and to answer whoever asks.
func (c *Cluster) settle() {
	if c.err != nil {
		return
	}
	time := c.opt.SettleNanos
	if !c.intact() {
		time = lingerNanos
	}
	c.until(c.now + time)
	if c.err == nil && c.intact() {
		c.fail(c.check.settled(c))
	}
}

// maxEvents is how many events may come within a virtual second, tens of times
// what the busiest cluster needs: a loop without an end is a violation, and must
// not look like a run that takes long.
const maxEvents = 1 << 20

// until handles events up to the given time. Once faults have stopped it ends
// when the cluster has settled.
func (c *Cluster) until(end int64) {
	for c.err == nil {
		if at, ok := c.events.next(); !ok || at > end {
			break
		}
		e := c.events.pop()
		if e.at/second != c.now/second {
			c.busy = 0
		}
		if c.busy++; c.busy > maxEvents {
			c.fail(fmt.Errorf("liveness: more than %d events within a second: something goes in circles", maxEvents))
			return
		}
		c.now = e.at
		c.stats.Events++
		c.handle(&e)
		if c.quiet && c.now >= c.looked+10*millisecond {
			if c.looked = c.now; c.check.settled(c) == nil {
				return
			}
		}
	}
	if c.err == nil {
		c.now = max(c.now, end) // whatever happened last
	}
}

func (c *Cluster) at(delay int64, e event) {
	e.at = c.now + max(delay, 0)
	c.events.push(&e)
}

func (c *Cluster) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

func (c *Cluster) handle(e *event) {
	if e.kind >= evFault {
		c.nemesis(e)
		return
	}
	c.traceEvent(e)
	switch e.kind {
	case evNext, evRetry, evCall, evTimeout:
		c.load.handle(e)
	case evBytes, evEnd, evHello, evSilence:
		c.net.handle(e)
	case evRestart:
		if n := c.nodes[e.node]; !n.up && n.out == nil {
			n.start()
		}
	default:
		c.deliver(e)
	}
}

func (c *Cluster) nemesis(e *event) {
	switch e.kind {
	case evFault:
		c.fault()
	case evStrike:
		c.replayed(c.opt.Faults[e.op])
	case evPlan:
		if !c.quiet {
			c.strike(c.plan[e.op])
		}
	case evHunt:
		c.hunt(e)
	case evSnap:
		c.snap(e)
	case evStrand:
		c.strand()
	case evRot:
		c.diskFault()
	case evHeal:
		if !c.quiet {
			c.strike(Fault{Kind: FaultHeal})
		}
	}
}

// deliver gives an event to its node, if that is still in the life it belongs to.
func (c *Cluster) deliver(e *event) {
	n := c.nodes[e.node]
	if !n.up || e.life != 0 && e.life != n.life {
		return
	}
	if n.paused > c.now && n.asleep && e.kind == evPeer {
		return
	}
	if n.paused > c.now { // it will find all of this when it goes on
		e.at, e.late = n.paused+c.clocks.Int64N(millisecond), true // in no particular order
		c.events.push(e)
		return
	}
	n.handle(e)
}

// calm ends all faults: whoever is down comes back, and nothing new is asked.
func (c *Cluster) calm() {
	c.quiet = true
	c.net.calm()
	for _, n := range c.nodes {
		n.slow, n.paused = 1, c.now
		n.fs.SetQuota(0)
		c.repair(n)
	}
	c.goOn()
	c.load.stop()
}

// goOn lets what was put off for nodes that stood still happen now.
func (c *Cluster) goOn() {
	all := make([]event, len(c.events.keys))
	for i := range all {
		all[i] = c.events.pop()
	}
	for i := range all {
		if e := &all[i]; e.late {
			e.at = min(e.at, c.now+c.clocks.Int64N(millisecond))
		}
		c.events.push(&all[i])
	}
}

// nextFault schedules the nemesis.
func (c *Cluster) nextFault() {
	if c.opt.FaultNanos > 0 && !c.opt.Replay {
		c.at(int64(c.faults.ExpFloat64()*float64(c.opt.FaultNanos)), event{kind: evFault})
	}
}

// replay schedules the list that takes the nemesis' place.
func (c *Cluster) replay() {
	for i := range c.opt.Faults {
		c.at(c.opt.Faults[i].At, event{kind: evStrike, op: uint64(i)})
	}
}

// fault strikes once, with one of the faults that the options allow.
func (c *Cluster) fault() {
	if c.quiet {
		return
	}
	defer c.nextFault()
	if c.now < c.siege {
		return
	}
	if c.opt.Trap && c.faults.IntN(4) == 0 {
		c.trap()
		return
	}
	switch c.faults.IntN(12) {
	case 0:
		if c.opt.Kill {
			c.crashSome(FaultKill)
		}
	case 1:
		if c.opt.Power {
			c.crashSome(FaultPower)
		}
	case 2:
		if c.opt.PowerAll {
			c.crashAll()
		}
	case 3:
		if c.opt.Partition {
			c.divide()
		}
	case 4:
		c.strike(Fault{Kind: FaultHeal})
	case 5:
		if c.opt.SlowDisk {
			c.strike(Fault{Kind: FaultSlow, Node: c.faults.IntN(len(c.nodes)), Value: []int64{1, 1, 10, 100, 1000}[c.faults.IntN(5)]})
		}
	case 6:
		if c.opt.Pause {
			c.pause(FaultPause)
		}
	case 7:
		if c.opt.Flap {
			c.flap()
		}
	case 8:
		if c.opt.FullDisk {
			c.fillDisk()
		}
	case 9:
		if c.opt.Suspend {
			c.pause(FaultSuspend)
		}
	case 10:
		if c.opt.Step {
			c.step()
		}
	case 11:
		if n := c.nodes[c.faults.IntN(len(c.nodes))]; c.opt.Nonsense && n.up && n.paused <= c.now {
			c.strike(Fault{Kind: FaultNonsense, Node: n.index, Seed: c.faults.Uint64()})
		}
	}
}

// leaderNode returns the position of a node that believes to lead, or -1.
func (c *Cluster) leaderNode() int {
	for i, n := range c.nodes {
		if n.up && n.rep.Leading() {
			return i
		}
	}
	return -1
}

// crashSome stops the leader, or any subset: each node by itself, seldom or as
// often as not.
func (c *Cluster) crashSome(kind FaultKind) {
	if lead := c.leaderNode(); lead >= 0 && c.faults.IntN(3) == 0 {
		c.stop(kind, lead, 300*millisecond)
		return
	}
	odds := 2
	if c.faults.IntN(3) > 0 {
		odds = len(c.nodes)
	}
	for i, n := range c.nodes {
		if n.up && c.faults.IntN(odds) == 0 {
			c.stop(kind, i, 300*millisecond)
		}
	}
}

// crashAll stops every running node at one moment and brings each back a little
// later. Some are killed, if that is allowed, while the others lose power.
func (c *Cluster) crashAll() {
	for i, n := range c.nodes {
		kind := FaultPower
		if c.opt.Kill && c.faults.IntN(4) == 0 {
			kind = FaultKill
		}
		if n.up {
			c.stop(kind, i, 300*millisecond)
		}
	}
}

// stop kills a node or takes its power, for about the given time.
func (c *Cluster) stop(kind FaultKind, node int, down int64) {
	c.strike(Fault{Kind: kind, Node: node, Nanos: int64(c.faults.ExpFloat64() * float64(down)), Seed: c.faults.Uint64()})
}

// crash carries out FaultKill or FaultPower.
func (c *Cluster) crash(n *node, f *Fault) {
	n.crash(f)
	c.linked(n, false)
	c.at(f.Nanos, event{kind: evRestart, node: n.index})
}
