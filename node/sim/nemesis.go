package sim

// The strikes that chance alone would hardly ever time right.

// elected is told of every new leader: the nemesis may strike it, mostly at once,
// before or after its first entries have reached anybody.
func (c *Cluster) elected(n *node) {
	if c.quiet || c.opt.Replay || c.now < c.siege || c.faults.IntN(100) >= c.opt.Hunt {
		return
	}
	delay := c.faults.Int64N(30 * millisecond)
	if c.faults.IntN(3) == 0 {
		delay += c.faults.Int64N(second)
	}
	c.siege = c.now + delay + second/2 + c.faults.Int64N(1500*millisecond)
	c.at(delay, event{kind: evHunt, node: n.index, life: n.life})
}

// hunt cuts a fresh leader off, alone or with a minority; stops it; or kills it.
func (c *Cluster) hunt(e *event) {
	n := c.nodes[e.node]
	if c.quiet || !n.up || n.life != e.life {
		return
	}
	c.stats.Hunts++
	switch c.faults.IntN(4) {
	case 0:
		c.strike(Fault{Kind: FaultPause, Node: n.index, Nanos: c.siege - c.now - c.faults.Int64N(300*millisecond)})
	case 1:
		kind := FaultKill
		if c.opt.Power && c.faults.IntN(2) == 0 {
			kind = FaultPower
		}
		c.stop(kind, n.index, 300*millisecond)
	default:
		with := map[int]bool{n.index: true}
		for range (c.opt.Nodes - 1) / 2 {
			if c.faults.IntN(2) == 0 {
				with[c.faults.IntN(c.opt.Nodes)] = true
			}
		}
		c.isolate(func(i int) bool { return with[i] }, c.faults.IntN(4) == 0)
	}
}

// isolate cuts a side off from the others until the siege is over. One way, what
// the others say still reaches it.
func (c *Cluster) isolate(side func(int) bool, oneWay bool) {
	c.strike(Fault{Kind: FaultCut, Links: between(len(c.nodes), side, oneWay)})
	c.at(c.siege-c.now, event{kind: evHeal})
}

// trap lays the ground for electing a new leader while the old one holds a
// lease. A node hears nothing of it for longer than an election timeout, and then
// the voters that confirmed the lease may forget that they did; or what confirms
// the lease arrives late.
func (c *Cluster) trap() {
	lead := c.leaderNode()
	if lead < 0 || c.opt.Nodes < 3 {
		return
	}
	c.stats.Traps++
	c.siege = c.now + 6*c.opt.electionNanos()
	e := event{kind: evSnap, node: lead, life: c.nodes[lead].life, up: c.faults.IntN(2) == 0}
	if c.faults.IntN(3) == 0 {
		f := Fault{Kind: FaultLag, Nanos: c.opt.LeaseNanos * 9 / 8}
		for from := range c.nodes {
			f.Links |= link(from, lead)
		}
		c.strike(f)
		e.up, e.from = true, lead
		c.at(c.opt.LeaseNanos*7/4, e)
		return
	}
	deaf := (lead + 1 + c.faults.IntN(c.opt.Nodes-1)) % c.opt.Nodes
	c.strike(Fault{Kind: FaultHeal})
	c.strike(Fault{Kind: FaultCut, Links: link(lead, deaf) | link(deaf, lead)})
	c.strike(Fault{Kind: FaultHush, Nanos: 2 * second}) // what it misses, it would not be elected without
	e.from = deaf
	c.armed = e
}

// canvassed springs the trap: the deaf node has just begun to ask for votes, and
// will go on asking those who did not answer.
func (c *Cluster) canvassed(n *node) {
	if c.armed.kind == evSnap && c.armed.from == n.index {
		c.at(microsecond, c.armed)
		c.armed = event{}
	}
}

func (c *Cluster) snap(e *event) {
	lead := c.nodes[e.node]
	if c.quiet || c.now > c.siege || !lead.up || lead.life != e.life || !lead.rep.Leading() {
		return
	}
	c.strike(Fault{Kind: FaultHush})
	c.isolate(func(i int) bool { return i == e.node }, false)
	for _, n := range c.nodes {
		if !e.up && n.up && n.index != e.node && n.index != e.from {
			c.stop(FaultKill, n.index, 5*millisecond)
		}
	}
}

// linked tells the others, if links are watched at all, that a node is gone or
// there again.
func (c *Cluster) linked(n *node, up bool) {
	for _, o := range c.nodes {
		if c.opt.Flap && !c.opt.Streams && o.up && o != n {
			o.later(c.net.delay(), event{kind: evLink, from: n.index, up: up})
		}
	}
}

// divide cuts links, all at once or one after the other.
func (c *Cluster) divide() {
	switch {
	case c.opt.Nodes > 1 && c.faults.IntN(5) == 0:
		c.swizzle()
	case c.opt.Nodes > 1 && c.faults.IntN(5) == 0:
		c.flutter()
	default:
		c.strike(Fault{Kind: FaultCut, Links: c.net.partition(c.faults, c.leaderNode())})
	}
}

// after plans a fault.
func (c *Cluster) after(delay int64, f Fault) {
	c.at(delay, event{kind: evPlan, op: uint64(len(c.plan))})
	c.plan = append(c.plan, f)
}

// swizzle cuts some nodes off one by one, and lets them back one by one, in
// another order: each sees another part of the others than the next.
func (c *Cluster) swizzle() {
	var off [maxNodes]bool
	some := c.faults.Perm(c.opt.Nodes)[:1+c.faults.IntN(c.opt.Nodes)]
	at := int64(0)
	pause := int64(c.faults.ExpFloat64() * float64(300*millisecond))
	for _, i := range some {
		c.after(at, Fault{Kind: FaultCut, Links: c.linksOf(i, off)})
		at += c.faults.Int64N(pause + millisecond)
		off[i] = true
	}
	at += int64(c.faults.ExpFloat64() * float64(700*millisecond))
	c.faults.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	for _, i := range some {
		off[i] = false
		c.after(at, Fault{Kind: FaultMend, Links: c.linksOf(i, off)})
		at += c.faults.Int64N(pause + millisecond)
	}
}

// linksOf returns all links of a node but those to nodes that are off.
func (c *Cluster) linksOf(node int, off [maxNodes]bool) Links {
	return between(c.opt.Nodes, func(i int) bool { return i == node }, false) &^
		between(c.opt.Nodes, func(i int) bool { return off[i] }, false)
}

// flutter cuts one link again and again, in one direction or in both.
func (c *Cluster) flutter() {
	a := c.faults.IntN(c.opt.Nodes)
	b := (a + 1 + c.faults.IntN(c.opt.Nodes-1)) % c.opt.Nodes
	links := link(a, b)
	if c.faults.IntN(2) == 0 {
		links |= link(b, a)
	}
	at := int64(0)
	for range 2 + c.faults.IntN(8) {
		c.after(at, Fault{Kind: FaultCut, Links: links})
		at += int64(c.faults.ExpFloat64() * float64(200*millisecond))
		c.after(at, Fault{Kind: FaultMend, Links: links})
		at += int64(c.faults.ExpFloat64() * float64(200*millisecond))
	}
}

// flap loses the link of one node to another for a while, or a client's
// connection.
func (c *Cluster) flap() {
	if c.faults.IntN(2) == 0 {
		c.strike(Fault{Kind: FaultReset, Node: c.faults.IntN(len(c.nodes)), To: c.faults.IntN(len(c.load.clients)), Seed: c.faults.Uint64()})
		return
	}
	n, to := c.nodes[c.faults.IntN(len(c.nodes))], c.faults.IntN(len(c.nodes))
	if !n.up || n.index == to {
		return
	}
	c.strike(Fault{Kind: FaultFlap, Node: n.index, To: to, Nanos: c.faults.Int64N(100 * millisecond), Seed: c.faults.Uint64()})
}
