package etcdraft

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "run only this seed")
	seedsFlag = flag.Uint64("seeds", 200, "how many seeds each test runs")
)

// library is a cluster of either kind. What it stores waits for sync, and etcd's
// messages with it; dnode sends what needs no disk before.
type library interface {
	campaign(i int, group []int) // its timer expires; group: the members up within reach
	propose(i int, data string) bool
	crash(i int) // loses what was not synced
	restart(i int)
	beat(i int)      // a tick of a leader's clock
	sync(i int) bool // the next batch is on the disk; false: there is none
	deliver(from, to, k int, keep bool) error
	pending(from, to int) int
	lose(from, to int)
	view(i int) view
}

// view is what can be compared of a node.
type view struct {
	up, leads    bool
	term, commit uint64
	log          []entry
}

type entry struct {
	term uint64
	data string // empty: a leader's first entry
}

func (v view) String() string {
	var s strings.Builder
	s.WriteString(fmt.Sprintf("term %d commit %d", v.term, v.commit))
	if !v.up {
		return "down"
	}
	if v.leads {
		s.WriteString(" leads")
	}
	for _, e := range v.log {
		s.WriteString(fmt.Sprintf(" %d%s", e.term, e.data))
	}
	return s.String()
}

// links holds the messages under way, by sender and receiver, oldest first.
type links[M any] struct {
	size   int
	queues [][]M
}

func newLinks[M any](size int) links[M] { return links[M]{size, make([][]M, size*size)} }

func (l *links[M]) link(from, to int) *[]M { return &l.queues[from*l.size+to] }

func (l *links[M]) pending(from, to int) int { return len(*l.link(from, to)) }

func (l *links[M]) lose(from, to int) { *l.link(from, to) = nil }

func (l *links[M]) take(from, to, k int, keep bool) M {
	q := l.link(from, to)
	m := (*q)[k]
	if !keep {
		*q = slices.Delete(*q, k, k+1)
	}
	return m
}

// run is one schedule over both libraries.
type run struct {
	t     *testing.T
	seed  uint64
	rng   *rand.Rand
	size  int
	libs  []library
	group []int // partition: members with equal numbers reach each other
	up    []bool
	next  int // proposal
	story []string

	committed [2][]entry // longest prefix that any node took for committed
	terms     uint64
}

func newRun(t *testing.T, seed uint64) *run {
	r := &run{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 2))}
	r.size = 3 + 2*r.rng.IntN(2)
	r.libs = []library{newDnode(r.size), newEtcd(r.size)}
	r.group, r.up = make([]int, r.size), slices.Repeat([]bool{true}, r.size)
	return r
}

func (r *run) fail(format string, args ...any) {
	r.t.Helper()
	var b strings.Builder
	for k, lib := range r.libs {
		fmt.Fprintln(&b, [2]string{"dnode", "etcd"}[k])
		for i := range r.size {
			fmt.Fprintf(&b, "  %d: %v\n", i+1, lib.view(i))
		}
	}
	r.t.Fatalf("seed %d: %s\n%s%s", r.seed, fmt.Sprintf(format, args...), b.String(), strings.Join(r.story, "\n"))
}

func (r *run) tell(format string, args ...any) {
	r.story = append(r.story, fmt.Sprintf(format, args...))
}

// reach returns the members up in i's part of the network.
func (r *run) reach(i int) []int {
	var out []int
	for k := range r.size {
		if r.up[k] && r.group[k] == r.group[i] {
			out = append(out, k)
		}
	}
	return out
}

// settle stores and delivers everything, with a few heartbeats after that: one
// on its way would end a campaign that has just begun.
func (r *run) settle() {
	for _, lib := range r.libs {
		for range 6 {
			for round := 0; r.calm(lib); round++ {
				if round > 1000 {
					r.fail("does not settle")
				}
			}
			for i := range r.size {
				lib.beat(i)
			}
		}
		for r.calm(lib) {
			continue
		}
	}
	r.observe()
}

// calm does all there is to do now, and reports whether there was anything.
func (r *run) calm(lib library) bool {
	busy := false
	for i := range r.size {
		for lib.sync(i) {
			busy = true
		}
	}
	for from := range r.size {
		for to := range r.size {
			if r.group[from] != r.group[to] {
				lib.lose(from, to)
			}
			for range lib.pending(from, to) {
				busy = true
				r.deliver(lib, from, to, 0, false)
			}
		}
	}
	return busy
}

func (r *run) deliver(lib library, from, to, k int, keep bool) {
	if err := lib.deliver(from, to, k, keep); err != nil {
		r.fail("%d does not take a message of %d: %v", to+1, from+1, err)
	}
}

// event draws what happens next to both.
func (r *run) event() {
	i := r.rng.IntN(r.size)
	switch p := r.rng.IntN(100); {
	case p < 25:
		r.campaign(i)
	case p < 60:
		if r.up[i] {
			r.propose(i)
		}
	case p < 75:
		parts := 1 + r.rng.IntN(3)
		for k := range r.group {
			r.group[k] = r.rng.IntN(parts)
		}
		r.tell("parts %v", r.group)
	case p < 85:
		if r.up[i] {
			r.tell("crash %d", i+1)
			r.up[i] = false
			for _, lib := range r.libs {
				lib.crash(i)
			}
		}
	default:
		r.restart(i)
	}
}

func (r *run) campaign(i int) {
	if !r.up[i] {
		return
	}
	r.tell("campaign %d", i+1)
	for _, lib := range r.libs {
		for k := range r.size { // no disk is so slow that it bars an election
			for lib.sync(k) {
			}
		}
		lib.campaign(i, r.reach(i))
	}
}

func (r *run) restart(i int) {
	if r.up[i] {
		return
	}
	r.tell("restart %d", i+1)
	r.up[i] = true
	for _, lib := range r.libs {
		lib.restart(i)
	}
}

func (r *run) propose(i int) [2]bool {
	r.next++
	data := fmt.Sprintf("p%d", r.next)
	var ok [2]bool
	for k, lib := range r.libs {
		ok[k] = lib.propose(i, data)
	}
	r.tell("propose %s at %d: %v", data, i+1, ok)
	return ok
}

// observe checks each library by itself: one leader in a term, and nothing that
// was committed ever changes.
func (r *run) observe() {
	for k, lib := range r.libs {
		leaders := map[uint64]int{}
		for i := range r.size {
			v := lib.view(i)
			r.terms = max(r.terms, v.term)
			if v.leads {
				if _, ok := leaders[v.term]; ok {
					r.fail("two leaders in term %d", v.term)
				}
				leaders[v.term] = i
			}
			if int(v.commit) > len(v.log) {
				continue // etcd's newest entries are not on its disk yet
			}
			have := v.log[:v.commit]
			n := min(len(have), len(r.committed[k]))
			if !slices.Equal(have[:n], r.committed[k][:n]) {
				r.fail("member %d changed what was committed: %v", i+1, r.committed[k])
			}
			if len(have) > n {
				r.committed[k] = slices.Clone(have)
			}
		}
	}
}

// compare holds the libraries against each other, node by node.
func (r *run) compare() {
	for i := range r.size {
		a, b := r.libs[0].view(i), r.libs[1].view(i)
		if !r.led(i) {
			a.commit, b.commit = 0, 0 // etcd's survives a restart, dnode's is learnt again
		}
		if a.String() != b.String() {
			r.fail("member %d: dnode has %v, etcd %v", i+1, a, b)
		}
	}
	if !slices.Equal(r.committed[0], r.committed[1]) {
		r.fail("dnode committed %v, etcd %v", r.committed[0], r.committed[1])
	}
}

// led reports whether i is within reach of a leader with a majority.
func (r *run) led(i int) bool {
	group := r.reach(i)
	return len(group) > r.size/2 && slices.ContainsFunc(group, func(k int) bool { return r.libs[0].view(k).leads })
}

func seeds(f func(seed uint64)) {
	if *seedFlag != 0 {
		f(*seedFlag)
		return
	}
	for seed := uint64(1); seed <= *seedsFlag; seed++ {
		f(seed)
	}
}

// TestQuiescent: the network is quiet after each event, and both clusters equal.
func TestQuiescent(t *testing.T) {
	terms, committed, events := uint64(0), uint64(0), 0
	seeds(func(seed uint64) {
		r := newRun(t, seed)
		for range 40 {
			r.event()
			r.settle()
			r.compare()
			events++
		}
		terms += r.terms
		committed += uint64(len(r.committed[0]))
	})
	t.Logf("%d events, %d terms, %d entries committed, all alike", events, terms, committed)
	if terms < *seedsFlag || committed < *seedsFlag {
		if *seedFlag == 0 {
			t.Error("the runs did too little to prove anything")
		}
	}
}

// TestTurbulent: messages are lost, repeated and overtaken, and disks are slow,
// one by one. In the end each cluster must have a leader and one log.
func TestTurbulent(t *testing.T) {
	terms, committed := uint64(0), uint64(0)
	seeds(func(seed uint64) {
		r := newRun(t, seed)
		for range 150 {
			if r.rng.IntN(6) == 0 {
				r.event()
			}
			r.turbulence()
			r.observe()
		}
		r.finish()
		terms += r.terms
		committed += uint64(len(r.committed[0]))
	})
	t.Logf("%d terms, %d entries committed", terms, committed)
	if *seedFlag == 0 && (terms < *seedsFlag || committed < *seedsFlag) {
		t.Error("the runs did too little to prove anything")
	}
}

// turbulence does the same to one link, disk and clock of both.
func (r *run) turbulence() {
	from, to, k := r.rng.IntN(r.size), r.rng.IntN(r.size), r.rng.IntN(4)
	p := r.rng.IntN(100)
	for _, lib := range r.libs {
		n := lib.pending(from, to)
		switch {
		case p < 5:
			lib.beat(from)
		case p < 40:
			lib.sync(from)
		case n == 0:
		case r.group[from] != r.group[to] || p < 45:
			lib.lose(from, to)
		case p < 80:
			for range n {
				r.deliver(lib, from, to, 0, false)
			}
		default: // one of the oldest overtakes, and may come again
			r.deliver(lib, from, to, min(k, n-1), p < 90)
		}
	}
}

// finish ends all faults.
func (r *run) finish() {
	for i := range r.size {
		r.group[i] = 0
		r.restart(i)
	}
	r.settle()
	for i := range r.size {
		r.campaign(i)
		r.settle()
	}
	led := false
	for i := range r.size {
		r.propose(i)
		r.settle()
		led = led || r.libs[0].view(i).leads
	}
	for k, lib := range r.libs {
		first := lib.view(0)
		leaders := 0
		for i := range r.size {
			v := lib.view(i)
			if v.leads {
				leaders++
			}
			if !slices.Equal(v.log, first.log) || int(v.commit) != len(v.log) {
				r.fail("member %d differs at the end", i+1)
			}
		}
		if leaders != 1 || !slices.Equal(first.log, r.committed[k]) || len(first.log) == 0 {
			r.fail("%d leaders at the end, %d entries of %d committed", leaders, len(r.committed[k]), len(first.log))
		}
		r.inOrder(first.log)
	}
}

// inOrder: what one leadership accepted is committed in that order.
func (r *run) inOrder(log []entry) {
	last := map[uint64]int{}
	for _, e := range log {
		var n int
		if _, err := fmt.Sscanf(e.data, "p%d", &n); err == nil {
			if n <= last[e.term] {
				r.fail("%s out of order", e.data)
			}
			last[e.term] = n
		}
	}
}
