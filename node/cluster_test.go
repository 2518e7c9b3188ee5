package node

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dnode-engine/dnode/wire"
)

func (c *testCluster) converged(want wire.Index) error {
	var hash uint64
	var at wire.Index
	for i, n := range c.nodes {
		if n == nil {
			continue
		}
		st := n.Status()
		if st.Applied < want {
			return fmt.Errorf("%s has applied %d of %d", st.Name, st.Applied, want)
		}
		if at != 0 && (st.Applied != at || st.Hash != hash) {
			return fmt.Errorf("n%d: hash %x at %d, another has %x at %d", i+1, st.Hash, st.Applied, hash, at)
		}
		hash, at = st.Hash, st.Applied
	}
	return nil
}

func TestThreeNodesReplicate(t *testing.T) {
	c := newCluster(t, 3, nil)
	lead := c.leader()
	for i := range 20 {
		c.put(fmt.Sprintf("k%d", i), fmt.Sprintf("v%d", i))
	}
	eventually(t, "same state everywhere", func() error { return c.converged(22) })
	for _, n := range c.nodes {
		c.wantGet(n, wire.Stale, "k7", "v7")
		if st := n.Status(); len(st.Members) != 3 || st.Cluster.IsZero() || st.Cluster != lead.Status().Cluster {
			t.Errorf("%s: cluster %s with %d members", st.Name, st.Cluster, len(st.Members))
		}
	}
	c.wantGet(lead, wire.Linearizable, "k7", "v7")
	follower := c.nodes[(c.index(lead)+1)%3]
	conn := mustConnect(t, follower.ClientAddr())
	err := conn.put("k", "v")
	var e *wire.Error
	if !errors.As(err, &e) || e.Code != wire.CodeNotLeader || e.Leader != lead.ClientAddr() {
		t.Errorf("write to a follower: %v, want the way to %s", err, lead.ClientAddr())
	}
	var scrape strings.Builder
	if err := lead.writeMetrics(&scrape); err != nil {
		t.Fatal(err)
	}
	parseExposition(t, scrape.String())
	other := follower.Status().Name
	for _, want := range []string{
		fmt.Sprintf("dnode_raft_peer_lag_entries{peer=%q} 0", other), fmt.Sprintf("dnode_raft_peer_state{peer=%q,state=\"replicate\"} 1", other),
		fmt.Sprintf("dnode_peer_link_up{peer=%q} 1", other), `dnode_requests_total{kind="put",result="ok"} 20`,
	} {
		if !strings.Contains(scrape.String(), want) {
			t.Errorf("no %s in\n%s", want, scrape.String())
		}
	}
	for _, n := range c.nodes {
		shutdown(t, n)
		<-n.Done()
	}
}

// A member that turns a link away says why, and is called again.
func TestLinkIsToldWhy(t *testing.T) {
	var log testLog
	c := newCluster(t, 3, func(_ int, cfg *Config) { cfg.Logger = log.logger() })
	c.put("k", "v")
	lead := c.leader()
	lead.loop.call(func(l *loop) {
		for _, conn := range l.conns.slots {
			if conn != nil && conn.side == wire.PeerSide {
				l.hangUp(conn, refuse(wire.CodeInternal, "the test wants it"))
			}
		}
	})
	eventually(t, "the reason", func() error {
		if n := strings.Count(log.String(), "the test wants it"); n < 2 {
			return fmt.Errorf("said %d times", n)
		}
		return nil
	})
	eventually(t, "links to the leader", func() error {
		for _, n := range c.nodes {
			for _, p := range n.published.get().peers {
				if p.name == lead.Status().Name && (!p.link || p.ups != 2) {
					return fmt.Errorf("%s: up %v, %d times", n.Status().Name, p.link, p.ups)
				}
			}
		}
		return nil
	})
	c.put("k2", "v")
}

func TestLeaderIsKilled(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.put("before", "1")
	lead := c.leader()
	i := c.index(lead)
	lead.Kill()
	c.nodes[i] = nil
	c.put("after", "2")
	next := c.leader()
	c.wantGet(next, wire.Linearizable, "before", "1")
	for k := range 50 {
		c.put(fmt.Sprintf("more%d", k), "x")
	}
	c.nodes[i] = start(t, c.cfgs[i])
	eventually(t, "the killed node to catch up", func() error { return c.converged(next.Status().Applied) })
	c.wantGet(c.nodes[i], wire.Stale, "after", "2")
}

func TestAllKilledAndRestarted(t *testing.T) {
	c := newCluster(t, 3, nil)
	var wg sync.WaitGroup
	var stop atomic.Bool
	acked := make([]int, 4)
	for w := range acked {
		wg.Go(func() { acked[w] = c.writeUntil(&stop, w) })
	}
	eventually(t, "some load", func() error {
		if lead := c.leader(); lead.Status().Applied < 300 {
			return fmt.Errorf("applied %d", lead.Status().Applied)
		}
		return nil
	})
	var kills sync.WaitGroup
	for _, n := range c.nodes {
		kills.Go(n.Kill)
	}
	kills.Wait()
	stop.Store(true)
	wg.Wait()
	for i := range c.nodes {
		c.nodes[i] = start(t, c.cfgs[i])
	}
	lead := c.leader()
	conn := mustConnect(t, lead.ClientAddr())
	for w, n := range acked {
		for k := range n {
			if got, err := conn.get(wire.Linearizable, fmt.Sprintf("w%d-%d", w, k)); err != nil || got != "v" {
				t.Fatalf("acknowledged write w%d-%d of %d: %q, %v", w, k, n, got, err)
			}
		}
	}
}

// Commands of the largest size pass through every buffer, frame and segment.
func TestLargestValues(t *testing.T) {
	c := newCluster(t, 3, func(_ int, cfg *Config) { cfg.ElectionTicks = 200 }) // busy with much, and no reason for an election
	lead := c.leader()
	conn := mustConnect(t, lead.ClientAddr())
	room := wire.MaxCommandBytes - len(wire.AppendPut(nil, []byte("k0"), nil))
	for wave := range 4 { // several segments of the least size
		var out []byte
		for i := wave * 5; i < wave*5+5; i++ {
			out = append(out, conn.putFrame(fmt.Sprintf("k%d", i%10), strings.Repeat(string(rune('a'+i)), room))...)
		}
		for part := range slices.Chunk(out, 1<<20+7777) {
			if _, err := conn.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		for range 5 {
			if f, err := conn.next(); err != nil || f.Type != wire.FrameWriteReply {
				t.Fatalf("answered by %v, %v", f.Type, err)
			}
		}
	}
	c.wantGet(lead, wire.Linearizable, "k9", strings.Repeat(string(rune('a'+19)), room))
	eventually(t, "same state everywhere", func() error { return c.converged(22) })
}

// writeUntil puts keys one after the other and returns how many were
// acknowledged.
func (c *testCluster) writeUntil(stop *atomic.Bool, w int) int {
	for n := 0; ; {
		conn, err := connect(c.nodes[n%3].ClientAddr())
		for err == nil && !stop.Load() {
			if err = conn.put(fmt.Sprintf("w%d-%d", w, n), "v"); err == nil {
				n++
			} else if isCode(err, wire.CodeNotLeader) {
				var e *wire.Error
				errors.As(err, &e)
				_ = conn.Close()
				conn, err = connect(e.Leader)
			}
		}
		if conn != nil {
			_ = conn.Close()
		}
		if stop.Load() || err != nil && n > 0 {
			return n
		}
	}
}

// A follower whose folder was wiped is not let in under its old name, and says
// why.
func TestWipedFollowerIsRefused(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.put("k", "v")
	i := (c.index(c.leader()) + 1) % 3
	c.nodes[i].Kill()
	if err := os.RemoveAll(c.cfgs[i].DataDir); err != nil {
		t.Fatal(err)
	}
	n := start(t, c.cfgs[i])
	c.nodes[i] = nil
	if err := n.Wait(); !isCode(err, wire.CodeNotFresh) || !strings.Contains(err.Error(), c.leader().Status().Cluster.String()) {
		t.Errorf("wiped node stopped with %v", err)
	}
	c.put("k2", "v2")
}

// Two wiped nodes of three cannot found an empty cluster beside the third.
func TestTwoWipedNodesDoNotFound(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.put("k", "v")
	eventually(t, "all founded", func() error { return c.converged(3) })
	for _, i := range []int{0, 1} {
		c.nodes[i].Kill()
		if err := os.RemoveAll(c.cfgs[i].DataDir); err != nil {
			t.Fatal(err)
		}
	}
	for _, i := range []int{0, 1} {
		c.nodes[i] = start(t, c.cfgs[i])
	}
	for _, i := range []int{0, 1} {
		if err := c.nodes[i].Wait(); !isCode(err, wire.CodeNotFresh) {
			t.Errorf("wiped node n%d stopped with %v", i+1, err)
		}
	}
	c.nodes[0], c.nodes[1] = nil, nil
	c.wantGet(c.nodes[2], wire.Stale, "k", "v")
}

// While a member is missing, the cluster is not founded and says for whom it
// waits.
func TestFoundingWaitsForAll(t *testing.T) {
	addrs, giveBack := reserve(t, 2)
	giveBack[0]()
	cfg := testConfig(t, "n1")
	cfg.PeerListen, cfg.Cluster = addrs[0], map[string]string{"n1": addrs[0], "n2": addrs[1]}
	n1 := start(t, cfg)
	conn := mustConnect(t, n1.ClientAddr())
	if err := conn.put("k", "v"); !isCode(err, wire.CodeUnavailable) || !strings.Contains(err.Error(), "waiting for n2") {
		t.Errorf("write while founding: %v", err)
	}
	if reasons := strings.Join(n1.notReady(), " "); !strings.Contains(reasons, "waiting for n2") {
		t.Errorf("ready while founding: %s", reasons)
	}
	other := testConfig(t, "n2")
	other.PeerListen = addrs[1]
	other.Cluster = map[string]string{"n1": addrs[0], "n2": addrs[1], "n3": "127.0.0.1:1"}
	giveBack[1]()
	wrong := start(t, other)
	eventually(t, "the different lists to be noticed", func() error {
		if wrong.published.get().founding == "" {
			t.Fatal("founded with different lists")
		}
		if s := n1.published.get(); s.closed[wire.CodeWrongCluster] == 0 {
			return errors.New("nothing refused")
		}
		return nil
	})
	wrong.Kill()
	other.Cluster = cfg.Cluster
	n2 := start(t, other)
	c := &testCluster{t: t, nodes: []*Node{n1, n2}}
	c.put("k", "v")
}

// A member that speaks in the name of another is cut off, and moves nothing.
func TestMemberCannotSpeakForAnother(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.put("k", "v")
	lead := c.leader()
	eventually(t, "all founded", func() error { return c.converged(3) })
	st := lead.Status()
	var me, other wire.Member
	for _, m := range st.Members {
		if m.ID != st.ID {
			me, other = m, me
		}
	}
	for i, n := range c.nodes {
		if n.Status().ID == me.ID { // or it would call again and have ours closed
			n.Kill()
			c.nodes[i] = nil
		}
	}
	f := func(what string, m wire.PeerMessage) {
		t.Helper()
		conn, err := dialRaw(lead.PeerAddr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.hello(wire.Hello{Side: wire.PeerSide, Name: me.Name, Replica: me.Replica, Cluster: st.Cluster, To: st.Name}); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(wire.AppendPeerFrame(nil, &m)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.next(); !isCode(err, wire.CodeBadRequest) {
			t.Errorf("%s: %v", what, err)
		}
	}
	f("another's vote", wire.PeerMessage{Type: wire.FrameVote, From: other.ID, Term: st.Term + 100, Index: 1000, LogTerm: st.Term})
	f("a stranger's vote", wire.PeerMessage{Type: wire.FrameVote, From: 77, Term: st.Term + 100, Index: 1000, LogTerm: st.Term})
	if now := lead.Status(); now.Term >= st.Term+100 {
		t.Errorf("term moved from %d to %d", st.Term, now.Term)
	}
	c.put("k", "w")
}

// Two nodes on copies of one data folder take each other's connections, and are
// told what that means.
func TestCopiedFolderIsTold(t *testing.T) {
	var log testLog
	c := newCluster(t, 3, func(_ int, cfg *Config) { cfg.Logger = log.logger() })
	c.put("k", "v")
	lead := c.leader()
	eventually(t, "all founded", func() error { return c.converged(3) })
	i := (c.index(lead) + 1) % 3
	me := *c.nodes[i].self.Load()
	c.nodes[i].Kill()
	c.nodes[i] = nil
	call := func() *raw {
		conn, err := dialRaw(lead.PeerAddr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if _, err := conn.hello(wire.Hello{Side: wire.PeerSide, Name: me.name, Replica: me.replica, Cluster: me.cluster, To: lead.self.Load().name}); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	first := call()
	call()
	if _, err := first.next(); !isCode(err, wire.CodeWrongIdentity) || !strings.Contains(err.Error(), "its data folder was copied") {
		t.Errorf("the first was told %v", err)
	}
	if !strings.Contains(log.String(), "its data folder was copied") {
		t.Error("the operator was not told")
	}
}

// A cluster whose nodes have all moved is found again by the new list: hellos
// make sure that everybody is who they were.
func TestClusterMoves(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.put("k", "v")
	eventually(t, "all founded", func() error { return c.converged(3) })
	for _, n := range c.nodes {
		shutdown(t, n)
	}
	addrs, giveBack := reserve(t, 3)
	list := map[string]string{"n1": addrs[0], "n2": addrs[1], "n3": addrs[2]}
	for i := range c.nodes {
		c.cfgs[i].PeerListen, c.cfgs[i].Cluster = addrs[i], list
		giveBack[i]()
		c.nodes[i] = start(t, c.cfgs[i])
	}
	c.put("k2", "v2")
	c.wantGet(c.leader(), wire.Linearizable, "k", "v")
	eventually(t, "a follower to name the leader's new address", func() error {
		lead := c.leader()
		conn := mustConnect(t, c.nodes[(c.index(lead)+1)%3].ClientAddr())
		var e *wire.Error
		if err := conn.put("k", "w"); !errors.As(err, &e) || e.Leader != lead.ClientAddr() {
			return fmt.Errorf("a follower sends writes by %w, the leader moved to %s", err, lead.ClientAddr())
		}
		return nil
	})
}
