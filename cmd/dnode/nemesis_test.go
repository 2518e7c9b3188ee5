package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/client"
	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wire"
)

// ordeal is three real processes, a load on them, and a nemesis that kills and
// stops them.
type ordeal struct {
	t      *testing.T
	c      *cluster
	load   *recordedLoad
	ask    *client.Client
	random *rand.Rand

	log []entry // once it is over

	kills, pauses, deposed, slowed int
}

// act is one thing that a nemesis does.
type act func(o *ordeal)

// newOrdeal starts three nodes of a binary and the load.
func newOrdeal(t *testing.T, binary string, seed uint64) *ordeal {
	t.Helper()
	return newOrdealOn(t, newClusterOf(t, binary, 3), seed)
}

// newOrdealOn starts the load on a cluster of three.
func newOrdealOn(t *testing.T, c *cluster, seed uint64) *ordeal {
	t.Helper()
	o := &ordeal{t: t, c: c, random: rand.New(rand.NewPCG(seed, 0))}
	o.ask = o.c.open()
	load, err := startLoad(strings.Split(o.c.endpoints(), ","), seed)
	if err != nil {
		t.Fatal(err)
	}
	o.load = load
	t.Cleanup(load.end)
	return o
}

// run lets the nemesis act until it has gone round all its acts and the load
// has done as much as it is to do. Between two acts the cluster recovers.
func (o *ordeal) run(acts []act, operations int64) {
	for i := 0; i < len(acts) || o.load.counts.ended.Load() < operations; i++ {
		if i >= 4*len(acts)+100 {
			o.t.Fatalf("only %d operations after %d acts", o.load.counts.ended.Load(), i)
		}
		acts[i%len(acts)](o)
		o.progress(20)
	}
	o.load.end()
}

// progress waits until some more writes were acknowledged.
func (o *ordeal) progress(writes int64) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for want := o.load.counts.writes.Load() + writes; o.load.counts.writes.Load() < want; {
		pause(ctx, o.t)
	}
}

// some returns a random time between two others.
func (o *ordeal) some(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(o.random.Int64N(int64(hi-lo)))
}

// statuses asks every node at once; one that does not answer is left out.
func (o *ordeal) statuses() map[*clusterNode]wire.NodeStatus {
	var mu sync.Mutex
	var asked sync.WaitGroup
	all := make(map[*clusterNode]wire.NodeStatus)
	for _, n := range o.c.nodes {
		asked.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
			defer cancel()
			if st, err := o.ask.Status(ctx, n.client); err == nil {
				mu.Lock()
				all[n] = st
				mu.Unlock()
			}
		})
	}
	asked.Wait()
	return all
}

// leader waits for a leader of a later term than after.
func (o *ordeal) leader(after wire.Term) (*clusterNode, wire.Term) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for ; ; pause(ctx, o.t) {
		var best *clusterNode
		term := after
		for n, st := range o.statuses() {
			if st.Role == wire.RoleLeader && st.Term > term {
				best, term = n, st.Term
			}
		}
		if best != nil {
			return best, term
		}
	}
}

func (o *ordeal) signal(n *clusterNode, s syscall.Signal) {
	if n.ended() {
		o.t.Errorf("%s has ended by itself", n.name)
	}
	if err := n.cmd.Process.Signal(s); err != nil {
		o.t.Errorf("cannot send %v to %s: %v", s, n.name, err)
	}
}

// killLeader ends the leader with signal 9 and restarts it a little later.
func killLeader(o *ordeal) {
	n, _ := o.leader(0)
	o.load.target.Store(&n.client)
	o.signal(n, syscall.SIGKILL)
	<-n.done
	o.kills++
	rest(context.Background(), o.some(0, time.Second))
	o.c.start(n)
}

// pauseLeader stops the leader for a while, long enough to be replaced or not.
func pauseLeader(o *ordeal) {
	n, _ := o.leader(0)
	o.stop(n)
}

// pauseFollower stops a node that does not lead for a while.
func pauseFollower(o *ordeal) {
	n, _ := o.leader(0)
	for n2 := n; ; {
		if n2 = o.c.nodes[o.random.IntN(3)]; n2 != n {
			o.stop(n2)
			return
		}
	}
}

func (o *ordeal) stop(n *clusterNode) {
	o.load.target.Store(&n.client)
	o.signal(n, syscall.SIGSTOP)
	o.pauses++
	rest(context.Background(), o.some(200*time.Millisecond, 3*time.Second))
	o.signal(n, syscall.SIGCONT)
}

// pauseQuorum stops all but the leader for a while.
func pauseQuorum(o *ordeal) {
	leader, _ := o.leader(0)
	o.load.target.Store(&leader.client)
	for _, s := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
		for _, n := range o.c.nodes {
			if n != leader {
				o.signal(n, s)
			}
		}
		if s == syscall.SIGSTOP {
			rest(context.Background(), o.some(200*time.Millisecond, 1500*time.Millisecond))
		}
	}
	o.pauses += 2
}

// slowLeader lets the leader run only a tenth of the time, for a while.
func slowLeader(o *ordeal) {
	n, _ := o.leader(0)
	o.load.target.Store(&n.client)
	for range 20 {
		o.signal(n, syscall.SIGSTOP)
		rest(context.Background(), o.some(20*time.Millisecond, 160*time.Millisecond))
		o.signal(n, syscall.SIGCONT)
		rest(context.Background(), 10*time.Millisecond)
	}
	o.slowed++
}

// deposeLeader stops the leader until another one leads and has acknowledged
// writes. The old one goes on with reads in its socket that were asked after
// those writes, and it does not know yet that it was replaced.
func deposeLeader(o *ordeal) {
	n, term := o.leader(0)
	o.load.target.Store(&n.client)
	o.progress(10) // the direct reads have turned to it by now
	o.signal(n, syscall.SIGSTOP)
	o.pauses++
	o.deposed++
	o.leader(term)
	o.progress(50)
	rest(context.Background(), directWait+100*time.Millisecond) // all direct reads in flight began after that
	o.signal(n, syscall.SIGCONT)
}

// agree waits until all members have applied the same and checks that their
// states are equal.
func (o *ordeal) agree() wire.Index {
	o.t.Helper()
	at, err := o.agreed(30 * time.Second)
	if err != nil {
		o.t.Fatal(err)
	}
	return at
}

var errDiffer = errors.New("the states differ")

// agreed waits until all members are well and have applied the same, and
// returns which entry they have applied last. Its error wraps errDiffer if their
// states are not equal then.
func (o *ordeal) agreed(limit time.Duration) (wire.Index, error) {
	for deadline := time.Now().Add(limit); ; {
		all := o.statuses()
		first, ok := all[o.c.nodes[0]]
		for _, st := range all {
			ok = ok && st.Applied == first.Applied && st.Commit == st.Applied && st.Last == first.Applied && st.State == wire.StateOK
		}
		if !ok || len(all) != len(o.c.nodes) {
			if err := o.ended(); err != nil {
				return 0, err
			}
			if time.Now().After(deadline) {
				return 0, fmt.Errorf("the members have not become equal within %v: %+v", limit, all)
			}
			rest(context.Background(), 10*time.Millisecond)
			continue
		}
		for n, st := range all {
			if st.Hash != first.Hash {
				return 0, fmt.Errorf("%w at index %d: hash %x on %s, %x on %s", errDiffer, st.Applied, st.Hash, n.name, first.Hash, o.c.nodes[0].name)
			}
		}
		return first.Applied, nil
	}
}

// ended names a node that has ended by itself.
func (o *ordeal) ended() error {
	for _, n := range o.c.nodes {
		if n.ended() {
			return fmt.Errorf("%s has ended by itself: %s", n.name, tail(n.err.String(), 1000))
		}
	}
	return nil
}

// committed ends the cluster and returns the one log that its members hold up to
// last, a majority of them on their disks. What the keys held before must be what
// the log says.
func (o *ordeal) committed(last wire.Index) []entry {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	final, err := o.ask.ScanPage(ctx, client.Range{Prefix: keyPrefix})
	if err != nil {
		o.t.Fatal(err)
	}
	o.c.killAll()
	var log []entry
	sums := make(map[uint32]bool)
	whole := 0
	for _, n := range o.c.nodes {
		l, sum, err := readLog(n.dir, last)
		if errors.Is(err, wal.ErrOutOfRange) {
			continue // it had applied what it was about to write
		}
		if err != nil {
			o.t.Fatal(err)
		}
		log, sums[sum] = l, true
		whole++
	}
	if whole <= len(o.c.nodes)/2 {
		o.t.Errorf("only %d logs reach index %d, which was committed", whole, last)
	}
	if len(sums) != 1 {
		o.t.Errorf("the logs differ below index %d", last)
	}
	state := make(map[string]content)
	for _, e := range log {
		replay(state, e)
	}
	for _, it := range final.Items {
		if state[it.Key] != contentOf(it) {
			o.t.Errorf("%s holds %+v, the log says %+v", it.Key, contentOf(it), state[it.Key])
		}
		delete(state, it.Key)
	}
	for key, it := range state {
		if it.mod != 0 {
			o.t.Errorf("%s is gone, the log says %+v", key, it)
		}
	}
	return log
}

// judge ends the cluster and judges the history.
func (o *ordeal) judge() (verdict, error) {
	o.t.Helper()
	o.log = o.committed(o.agree())
	v, err := judge(o.load.history, o.log, time.Minute)
	o.t.Logf("%d operations in %v, %d kills, %d pauses (%d of a leader until it was replaced), %d times slowed; %d refused; unknown: %d (%.2f %%), %d of them in the log; porcupine took %v",
		v.operations, time.Since(o.load.began).Round(time.Second), o.kills, o.pauses, o.deposed, o.slowed,
		v.refused, v.unknown, 100*v.unknownShare(), v.inLog, v.checked.Round(time.Millisecond))
	return v, errors.Join(err, o.wrong())
}

// wrong is what clients have said that they must never say.
func (o *ordeal) wrong() error {
	if n := len(o.load.wrong); n > 0 {
		return fmt.Errorf("%d answers that must not be, the first: %w", n, o.load.wrong[0])
	}
	return nil
}
