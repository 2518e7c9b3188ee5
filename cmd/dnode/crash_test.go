package main

import (
	"context"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/client"
)

const (
	writers    = 64
	valueBytes = 100
	everyKey   = 1 << 30 // a new key for every write
)

// stress is a ledger that is being written.
type stress struct {
	*ledger
	stop    context.CancelFunc
	stopped sync.WaitGroup
}

// startStress lets 64 writers write as fast as they can, until stop.
func startStress(prefix string, cl *client.Client) *stress {
	ctx, cancel := context.WithCancel(context.Background())
	l := &stress{ledger: newLedger(prefix, writers, everyKey, valueBytes), stop: cancel}
	l.stopped.Go(func() { l.run(ctx, cl.Put, func() bool { return true }) })
	return l
}

// reach waits until n writes were acknowledged.
func (l *stress) reach(t *testing.T, n uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	for l.acked.Load() < n {
		pause(ctx, t)
	}
}

// end stops the writers and waits for them.
func (l *stress) end() {
	l.stop()
	l.stopped.Wait()
}

// audit fails the test unless every acknowledged write is there, exact, and
// nothing else is.
func (l *stress) audit(t *testing.T, cl *client.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	a, err := l.check(cl.Scan(ctx, client.Range{Prefix: l.prefix}))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range a.wrong {
		t.Error(w)
	}
	t.Logf("%s: %d acknowledged, %d unknown, %d refused; %d keys right, %d wrong",
		l.prefix, l.acked.Load(), l.unknown.Load(), l.refused.Load(), a.keys, a.bad)
}

// rounds is how often the crash of all nodes is tried.
func rounds(t *testing.T) int {
	s := os.Getenv("DNODETEST_ROUNDS")
	if s == "" {
		return 3
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("DNODETEST_ROUNDS=%q is not a number above zero", s)
	}
	return n
}

// kill -9 the leader under 64 writers: a new one serves within two seconds, and
// nothing acknowledged is lost.
func TestKillTheLeader(t *testing.T) {
	c := newCluster(t, 3)
	cl := c.open()
	l := startStress("leader/", cl)
	defer l.end()
	l.reach(t, 1000)
	victim := c.leader(cl)
	victim.kill()
	killed := time.Now()
	// A write that begins after the kill is answered by a new leader.
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		_, err := cl.Put(ctx, "probe", []byte("x"))
		if err == nil {
			break
		}
		pause(ctx, t)
	}
	gap := time.Since(killed)
	t.Logf("the leader was replaced in %v", gap.Round(time.Millisecond))
	if gap > 2*time.Second {
		t.Errorf("a new leader served after %v, want within 2s", gap)
	}
	l.reach(t, l.acked.Load()+1000)
	c.start(victim)
	l.reach(t, l.acked.Load()+1000)
	l.end()
	l.audit(t, cl)
}

// kill -9 all three at once under load and restart them on the same folders and
// ports: every acknowledged write of every round is there, exact.
func TestKillAll(t *testing.T) {
	c := newCluster(t, 3)
	var all []*stress
	for round := range rounds(t) {
		cl := c.open()
		l := startStress("round"+strconv.Itoa(round)+"/", cl)
		l.reach(t, 500+uint64(round%5)*300)
		c.killAll()
		l.end()
		all = append(all, l)
		for _, n := range c.nodes {
			c.start(n)
		}
		cl.Close()
		cl = c.open()
		for _, l := range all {
			l.audit(t, cl)
		}
		cl.Close()
	}
}

// With the leader and another node gone there is no quorum: reads and writes
// end with exit code 5 or 6 in time, a stale read is still answered.
func TestNoQuorum(t *testing.T) {
	c := newCluster(t, 3)
	cl := c.open()
	if _, err := cl.Put(context.Background(), "k", []byte("v")); err != nil {
		t.Fatal(err)
	}
	leader := c.leader(cl)
	left := c.nodes[0]
	if left == leader {
		left = c.nodes[1]
	}
	waitStale(t, cl, left.client)
	for _, n := range c.nodes {
		if n != left {
			n.kill()
		}
	}
	f := func(code int, out string, args ...string) {
		t.Helper()
		got := cli(t, append(args, "-e", left.client, "--timeout", "1s")...)
		if got.code != code || got.out != out {
			t.Errorf("%q: got %+v", args, got)
		}
	}
	f(exitUnavailable, "", "get", "k")
	f(exitUnavailable, "", "put", "k", "w")
	f(exitOK, "v\n", "get", "k", "--consistency", "stale")
}

// waitStale waits until a node has applied the key k.
func waitStale(t *testing.T, cl *client.Client, endpoint string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		_, err := cl.Get(ctx, "k", client.ReadOptions{Consistency: client.Stale, Endpoint: endpoint})
		if err == nil {
			return
		}
		pause(ctx, t)
	}
}

// A write that was sent and not answered in time exits 6: its outcome is not
// known.
func TestUnknownOutcome(t *testing.T) {
	c := newCluster(t, 3)
	leader := c.leader(c.open())
	for _, n := range c.nodes {
		if n != leader {
			n.cmd.Process.Signal(syscall.SIGSTOP)
		}
	}
	got := dnode(t, nil, "put k v --timeout 300ms -e "+leader.client)
	if got.code != exitUnknown || !strings.Contains(got.err, "outcome unknown") {
		t.Errorf("got %+v", got)
	}
}

// The status shows every member, those that do not answer as unreachable.
func TestStatusOfThree(t *testing.T) {
	c := newCluster(t, 3)
	cl := c.open()
	c.leader(cl).kill()
	got := dnode(t, nil, "status -o json -e "+c.endpoints())
	var members []member
	if err := json.Unmarshal([]byte(got.out), &members); err != nil || got.code != 0 || len(members) != 3 {
		t.Fatalf("got %+v, %v", got, err)
	}
	states := make(map[string]int)
	for _, m := range members {
		states[m.State]++
		if m.Client == "" || m.Peer == "" || m.State == "ok" && (m.Name == "" || m.Term == 0 || m.Hash == "") {
			t.Errorf("incomplete: %+v", m)
		}
	}
	if states["ok"] != 2 || states["unreachable"] != 1 {
		t.Errorf("states %v", states)
	}
}
