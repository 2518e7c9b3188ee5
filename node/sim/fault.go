package sim

import (
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing that the nemesis does to the cluster. It is complete:
// carrying it out draws nothing, so that a recorded list of faults can be
// replayed with some of them left out.
type Fault struct {
	At    int64 // virtual time
	Kind  FaultKind
	Node  int
	To    int   // FaultFlap: the other end
	Links Links // FaultCut, FaultLag
	Nanos int64 // how long it lasts, or takes; FaultStep: by how much
	Value int64 // FaultSlow: factor; FaultQuota: bytes left, negative: no limit
	Seed  uint64
}

// FaultKind says what a fault does.
type FaultKind uint8

// The faults.
const (
	FaultKill     FaultKind = iota // kill -9 of Node, which comes back after Nanos
	FaultPower                     // power loss of Node, which comes back after Nanos; Seed chooses what its disk kept
	FaultPause                     // Node stands still for Nanos
	FaultSlow                      // Node's disk is Value times as slow
	FaultQuota                     // Node's disk has Value bytes left
	FaultFlap                      // Node's link to To breaks; as datagrams: it is told so, and after Nanos that it is back
	FaultCut                       // Links carry nothing any more
	FaultLag                       // Links take Nanos longer
	FaultMend                      // Links are whole again
	FaultHeal                      // all links are whole again
	FaultHush                      // clients only read for Nanos
	FaultReset                     // the connection of client To to Node breaks; Seed chooses who learns of it late
	FaultIO                        // a call on Node's disk fails, chosen by Seed; if that fences it, it is restarted after Nanos
	FaultHang                      // Node's disk returns nothing for Nanos; then it does, or Node is restarted
	FaultFiles                     // Node can open no file for Nanos
	FaultRot                       // Node, which is down, has damage on its disk
	FaultSpoil                     // a sector of Node's disk cannot be read any more
	FaultStray                     // a write of Node is lost, or lands elsewhere
	FaultVote                      // Node, which is down, has a slot of its vote damaged
	FaultWipe                      // Node, which is down, loses its disk
	FaultTear                      // Node loses power in the middle of its next write, and comes back after Nanos; Seed as above
	FaultSuspend                   // Node's machine sleeps for Nanos: datagrams sent to it are lost
	FaultStep                      // Node's clock leaps ahead by Nanos
	FaultNonsense                  // a member sends Node what no correct one does, chosen by Seed
	FaultKinds                     // how many there are
)

var faultNames = [...]string{"kill", "power", "pause", "slow", "quota", "flap", "cut", "lag", "mend", "heal", "hush", "reset", "io", "hang", "nofiles", "rot", "spoil", "stray", "vote", "wipe", "tear", "suspend", "step", "nonsense", "?"}

func (k FaultKind) String() string { return faultNames[min(k, FaultKinds)] }

// MarshalText writes the name, which stays when kinds are added.
func (k FaultKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads it.
func (k *FaultKind) UnmarshalText(b []byte) error {
	i := slices.Index(faultNames[:FaultKinds], string(b))
	if i < 0 {
		return fmt.Errorf("no fault is called %q", b)
	}
	*k = FaultKind(i)
	return nil
}

func (f Fault) String() string {
	s := fmt.Sprintf("%.9f s %s", float64(f.At)/float64(second), f.Kind)
	switch f.Kind {
	case FaultCut, FaultMend:
		return s + f.Links.String()
	case FaultLag:
		return fmt.Sprintf("%s%v by %d ns", s, f.Links, f.Nanos)
	case FaultHeal:
		return s
	case FaultFlap:
		return fmt.Sprintf("%s n%d→n%d for %d ns", s, f.Node+1, f.To+1, f.Nanos)
	case FaultReset:
		return fmt.Sprintf("%s n%d, client %d", s, f.Node+1, f.To)
	case FaultSlow, FaultQuota:
		return fmt.Sprintf("%s n%d %d", s, f.Node+1, f.Value)
	default:
		return fmt.Sprintf("%s n%d for %d ns", s, f.Node+1, f.Nanos)
	}
}

// maxNodes is how many nodes a cluster may have: a set of links is one word.
const maxNodes = 8

// Links is a set of directed links between nodes.
type Links uint64

func link(from, to int) Links { return 1 << (from*maxNodes + to) }

func (l Links) has(from, to int) bool { return l&link(from, to) != 0 }

func (l Links) String() string {
	var b strings.Builder
	for from := range maxNodes {
		for to := range maxNodes {
			if l.has(from, to) {
				fmt.Fprintf(&b, " n%d→n%d", from+1, to+1)
			}
		}
	}
	return b.String()
}

// between returns the links that lead out of a side and, unless only those are
// asked for, the links that lead into it.
func between(nodes int, side func(int) bool, oneWay bool) Links {
	var l Links
	for from := range nodes {
		for to := range nodes {
			if side(from) != side(to) && (!oneWay || side(from)) {
				l |= link(from, to)
			}
		}
	}
	return l
}

// strike records a fault and carries it out.
func (c *Cluster) strike(f Fault) {
	f.At = c.now
	if !c.quiet {
		c.record = append(c.record, f)
	}
	c.stats.Faults[f.Kind]++
	c.trace.foldFault(uint64(f.Kind) | uint64(f.Node)<<8 | uint64(f.Nanos)<<16)
	if c.trace.tell != nil {
		c.say(-1, "FAULT %v", f)
	}
	switch f.Kind {
	case FaultKill, FaultPower:
		c.crash(c.nodes[f.Node], &f)
	case FaultPause, FaultSuspend:
		n := c.nodes[f.Node]
		until := max(n.paused, c.now)
		n.paused, n.asleep = c.now+f.Nanos, f.Kind == FaultSuspend
		if c.opt.FrozenClock {
			n.clock.offset -= n.paused - until
		}
	case FaultStep:
		c.nodes[f.Node].clock.offset += f.Nanos
	case FaultSlow:
		c.nodes[f.Node].slow = f.Value
	case FaultNonsense:
		c.nodes[f.Node].nonsense(f.Seed)
	case FaultQuota:
		c.nodes[f.Node].limit(f.Value)
	case FaultFlap:
		c.flapped(&f)
	case FaultCut:
		c.net.cut |= f.Links
	case FaultLag:
		c.net.delayed, c.net.lag = f.Links, f.Nanos
	case FaultMend:
		c.net.cut &^= f.Links
		c.net.mended()
	case FaultHeal:
		c.net.heal()
	case FaultHush:
		c.load.hushed = c.now + f.Nanos
	case FaultReset:
		c.net.reset(c.net.get(c.load.clients[f.To].lines[f.Node].conn), f.Seed)
	default:
		c.strikeDisk(&f)
	}
}

func (c *Cluster) flapped(f *Fault) {
	n := c.nodes[f.Node]
	if c.opt.Streams {
		c.net.reset(c.net.get(c.net.link(f.Node, f.To).conn), f.Seed)
		return
	}
	n.later(0, event{kind: evLink, from: f.To})
	n.later(f.Nanos, event{kind: evLink, from: f.To, up: true})
}

// replayed carries out a fault of a recorded list, if its target is there.
func (c *Cluster) replayed(f Fault) {
	if c.quiet {
		return
	}
	needsLife := f.Kind <= FaultPause || f.Kind == FaultSuspend || f.Kind == FaultFlap || f.Kind == FaultNonsense
	if needsLife && !c.nodes[f.Node].up || f.Kind >= FaultIO && f.Kind < FaultSuspend && !c.feasible(&f) {
		return
	}
	if f.Kind == FaultReset && f.To >= len(c.load.clients) {
		return // the shrinker has left this client out
	}
	c.strike(f)
}
