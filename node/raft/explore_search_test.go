package raft

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/dnode-engine/dnode/wire"
)

// The explorer visits every state that three real cores and their disks can be
// in within a scope: nothing is drawn, every event that may come next does.
//
//	world = node × 3 + messages sent so far + what the checkers remember
//
// A core's next state depends on its state and the event alone, so each step of
// a node is carried out once and looked up ever after: visiting a state costs
// about a microsecond. A message that was sent stays: it may be delivered at any
// time, any number of times, or never, which is loss, delay, repetition and
// reordering without a bound.

// scope bounds an exploration.
type scope struct {
	name    string
	budget  budget
	rounds  bool      // heartbeats and reads; otherwise their messages are not sent
	inline  bool      // a Ready ends with its batch on the disk; otherwise that is an event of its own
	batched bool      // a Ready is an event too, after any number of others
	preVote bool      // otherwise a campaign begins as if a majority had promised votes
	terms   [3]string // logs to begin with, one digit an entry, as restarted long ago
	vote    wire.Term // term on the disks then
	begin   func(*explorer, *world)
	states  int // cut off after so many
	plant   plant
}

func (s *scope) syncs() int {
	if s.inline {
		return 1 << 10
	}
	return 0
}

// budget says how often what is not free may happen.
type budget struct{ timeouts, beats, proposals, reads, crashes, downs uint8 }

// memory is what the checkers remember of a run; part of the state.
type memory struct {
	leaders   [8]wire.NodeID // of each term
	committed [8]commitAt    // entry i at i-1
	commits   uint8
	read      Read // the open read
	reader    wire.NodeID
	floor     uint8 // entries committed anywhere when it came
}

// commitAt is an entry's term, and that of the node that was first to know that
// it is committed.
type commitAt struct{ term, by wire.Term }

// world is one state.
type world struct {
	nodes [3]uint32 // in locals
	mem   memory
	left  budget
	sent  []uint32                  // messages, each once; shared with other worlds
	sum   [len(permutations)]uint64 // of the prints of sent
	trail uint32                    // how it was reached
}

// hop is how a state was reached for the first time.
type hop struct {
	from uint32
	ev   event
}

type explorer struct {
	*locals
	seen   prints
	trail  []hop
	next   []world
	depth  int
	events int
	fault  string
}

// explore visits all states of a scope, nearest first, until one is wrong.
func explore(s *scope) *explorer {
	x := &explorer{locals: newLocals(s), trail: make([]hop, 1)}
	w := x.first()
	if s.begin != nil {
		s.begin(x, &w)
	}
	w.left = s.budget
	x.visit(&w)
	for len(x.next) > 0 && x.fault == "" && x.seen.n < s.states {
		level := x.next
		x.next = nil
		x.depth++
		for k := range level {
			if x.expand(&level[k]); x.fault != "" || x.seen.n >= s.states {
				break
			}
			level[k] = world{}
		}
	}
	return x
}

// exhausted reports whether nothing was cut off.
func (x *explorer) exhausted() bool { return x.fault == "" && x.seen.n < x.scope.states }

func (x *explorer) first() world {
	var w world
	net := newNetwork(3, 0, func(c *Config) {
		c.LeaseNanos, c.TailBytes = 0, 1
		c.MaxAppendBytes, c.MaxInflightBytes = 1, 1 // one entry in a message: what figure 8 needs
	})
	for i, n := range net.nodes {
		if x.scope.vote > 0 {
			var terms []wire.Term
			for _, t := range x.scope.terms[i] {
				terms = append(terms, wire.Term(t-'0'))
			}
			n = net.preload(n.id, x.scope.vote, terms...)
			n.voted = true
		}
		x.normalize(n)
		w.nodes[i] = x.intern(n)
	}
	return w
}

// expand visits all states that may follow.
func (x *explorer) expand(w *world) {
	for i := range w.nodes {
		n := x.nodes[w.nodes[i]].n
		at := uint8(i)
		if n.core == nil {
			x.try(w, event{at: at, kind: evRestart}, nil)
			continue
		}
		if len(n.ops) > 0 {
			x.try(w, event{at: at, kind: evSync}, nil)
		}
		if x.scope.batched {
			x.try(w, event{at: at, kind: evReady}, nil)
		}
		x.try(w, event{at: at, kind: evTimeout}, func(b *budget) *uint8 { return &b.timeouts })
		if n.core.role == Leader {
			x.try(w, event{at: at, kind: evPropose}, func(b *budget) *uint8 { return &b.proposals })
			x.try(w, event{at: at, kind: evBeat}, func(b *budget) *uint8 { return &b.beats })
			if w.mem.reader == 0 {
				x.try(w, event{at: at, kind: evRead}, func(b *budget) *uint8 { return &b.reads })
			}
			for id := range uint32(3) {
				x.try(w, event{at: at, kind: evDown, arg: id + 1}, func(b *budget) *uint8 { return &b.downs })
			}
		}
		for k := range n.unsynced() + 1 {
			x.try(w, event{at: at, kind: evCrash, arg: uint32(k)}, func(b *budget) *uint8 { return &b.crashes })
		}
	}
	for _, m := range w.sent {
		to := uint8(x.msgs[m].To - 1)
		if x.nodes[w.nodes[to]].n.core != nil {
			x.try(w, event{at: to, kind: evDeliver, arg: m}, nil)
		}
	}
}

// try visits the state after an event that the budget allows.
func (x *explorer) try(w *world, ev event, cost func(*budget) *uint8) {
	next := *w
	if cost != nil {
		left := cost(&next.left)
		if *left == 0 {
			return
		}
		*left--
	}
	if x.fault == "" && x.advance(&next, ev) {
		x.visit(&next)
	}
}

// advance carries out an event and reports whether it changed anything.
func (x *explorer) advance(w *world, ev event) bool {
	x.events++
	from := w.nodes[ev.at]
	o := x.fire(from, ev.kind, ev.arg)
	w.nodes[ev.at] = o.to
	var fresh []uint32
	for _, m := range o.sent {
		if !slices.Contains(w.sent, m) && !x.dead(w, m) {
			fresh = append(fresh, m)
		}
	}
	if o.to == from && len(fresh) == 0 && o.fault == "" {
		return false
	}
	if o.to != from {
		x.forgetDead(w, ev.at)
	}
	if len(fresh) > 0 {
		w.sent = slices.Concat(w.sent, fresh)
	}
	if o.ticket.Round != 0 {
		w.mem.reader, w.mem.read, w.mem.floor = wire.NodeID(ev.at+1), o.ticket, w.mem.commits
	}
	fault := o.fault
	for _, m := range fresh {
		for p := range w.sum {
			w.sum[p] += x.msgPrint[m][p]
		}
		fault = cmp.Or(fault, x.checkAcknowledged(w, &x.msgs[m]))
	}
	fault = cmp.Or(fault, x.check(w, int(ev.at)))
	x.trail = append(x.trail, hop{w.trail, ev})
	w.trail = uint32(len(x.trail) - 1)
	if fault != "" {
		x.fault = fault + "\n" + x.story(w.trail)
	}
	return true
}

// dead reports whether a message is a reply that its receiver can never heed
// again: of a term before the one on its disk, or to an election that it has left.
func (x *explorer) dead(w *world, id uint32) bool {
	m := &x.msgs[id]
	n := x.nodes[w.nodes[m.To-1]].n
	switch m.Type {
	case wire.FrameAppendReply, wire.FrameRoundReply:
		return m.Term < n.vote.Term
	case wire.FramePreVoteReply:
		return m.Term < n.vote.Term || !m.Reject && m.Term == n.vote.Term
	case wire.FrameVoteReply:
		left := n.core == nil || n.core.role != Candidate || n.core.term > m.Term
		return m.Term < n.vote.Term || m.Term == n.vote.Term && left
	}
	return false
}

// forgetDead drops the dead messages to a node.
func (x *explorer) forgetDead(w *world, at uint8) {
	gone := func(id uint32) bool { return x.msgs[id].To == wire.NodeID(at+1) && x.dead(w, id) }
	if !slices.ContainsFunc(w.sent, gone) {
		return
	}
	alive := make([]uint32, 0, len(w.sent))
	for _, id := range w.sent {
		if !gone(id) {
			alive = append(alive, id)
			continue
		}
		for p := range w.sum {
			w.sum[p] -= x.msgPrint[id][p]
		}
	}
	w.sent = alive
}

// visit queues a state that was not seen before.
func (x *explorer) visit(w *world) {
	print := x.print(w)
	if !x.seen.add(print) {
		x.trail = x.trail[:len(x.trail)-1]
		return
	}
	x.next = append(x.next, *w)
}

// print is the smallest fingerprint of the state under a renaming of the nodes.
func (x *explorer) print(w *world) uint64 {
	least := ^uint64(0)
	m := &w.mem
	b := &w.left
	rest := mix(uint64(b.timeouts) | uint64(b.beats)<<8 | uint64(b.proposals)<<16 | uint64(b.reads)<<24 | uint64(b.crashes)<<32 | uint64(b.downs)<<40 + 1)
	for _, c := range m.committed[:m.commits] {
		rest = mix(rest*31 + uint64(c.term)<<8 + uint64(c.by))
	}
	if m.reader != 0 {
		rest = mix(rest ^ uint64(m.read.Term)<<48 ^ m.read.Round<<32 ^ uint64(m.read.Index)<<16 ^ uint64(m.floor))
	}
	for p := range permutations {
		h := rest + w.sum[p] + mix(renamed(m.reader, p)+99)
		for i := range w.nodes {
			h += x.nodes[w.nodes[i]].print[p]
		}
		for t, id := range m.leaders {
			if id != 0 {
				h += mix(uint64(t)<<8 | renamed(id, p)<<1 | 1)
			}
		}
		least = min(least, h)
	}
	return least
}

// story tells how a state was reached.
func (x *explorer) story(at uint32) string {
	var steps []hop
	for ; at != 0; at = x.trail[at].from {
		steps = append(steps, x.trail[at])
	}
	slices.Reverse(steps)
	w := x.first()
	var b strings.Builder
	for k, s := range steps {
		fmt.Fprintf(&b, "%3d. %s", k+1, x.tell(s.ev))
		w.nodes[s.ev.at] = x.fire(w.nodes[s.ev.at], s.ev.kind, s.ev.arg).to
		n := x.nodes[w.nodes[s.ev.at]].n
		if n.core != nil {
			fmt.Fprintf(&b, "  → %s, log %s durable %d", brief(n.core), terms(n.core), n.core.log.durable)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func (x *explorer) tell(ev event) string {
	name := [...]string{"deliver", "sync", "timeout", "beat", "propose", "read", "crash", "restart", "down", "ready"}[ev.kind]
	switch ev.kind {
	case evDeliver:
		return describe(&x.msgs[ev.arg])
	case evCrash:
		return fmt.Sprintf("%d %s after %d writes", ev.at+1, name, ev.arg)
	case evDown:
		return fmt.Sprintf("%d %s %d", ev.at+1, name, ev.arg)
	}
	return fmt.Sprintf("%d %s", ev.at+1, name)
}

// prints is a set of fingerprints: open addressing, zero is free.
type prints struct {
	slots []uint64
	n     int
}

// add reports whether v was not there.
func (s *prints) add(v uint64) bool {
	v = max(v, 1)
	if 2*s.n >= len(s.slots) {
		old := s.slots
		s.slots, s.n = make([]uint64, max(2*len(old), 1024)), 0
		for _, o := range old {
			if o != 0 {
				s.add(o)
			}
		}
	}
	mask := uint64(len(s.slots) - 1)
	for k := v & mask; ; k = (k + 1) & mask {
		switch s.slots[k] {
		case v:
			return false
		case 0:
			s.slots[k] = v
			s.n++
			return true
		}
	}
}
