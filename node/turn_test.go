package node

import (
	"log/slog"
	"testing"

	"github.com/dnode-engine/dnode/node/kv"
	"github.com/dnode-engine/dnode/node/raft"
	"github.com/dnode-engine/dnode/node/replica"
	"github.com/dnode-engine/dnode/wire"
)

// follower is a loop with the replica of a member that hears nobody: it answers
// every request by itself, and stores nothing.
func follower(t *testing.T, change func(cfg *Config)) *loop {
	t.Helper()
	cfg := Config{Name: "n1", Cluster: fuzzSelf().list}
	if change != nil {
		change(&cfg)
	}
	cfg.fill()
	boot := wire.Membership{NextID: 4}
	for i, name := range []string{"n1", "n2", "n3"} {
		boot.Members = append(boot.Members, wire.Member{ID: wire.NodeID(i + 1), Name: name, Replica: rid(byte(i + 1)), Role: wire.Voter})
	}
	rep, err := replica.New(replica.Config{Name: "n1", Raft: raft.Config{
		ID: 1, ElectionTicks: 100, HeartbeatTicks: 1, MaxAppendBytes: 1, MaxInflightBytes: 1, MaxUncommittedBytes: 1, TailBytes: 1,
	}}, kv.New(), raft.State{First: 1, Members: boot})
	if err != nil {
		t.Fatal(err)
	}
	rep.Begin(1)
	rep.Effects() // the configuration is known below
	self := *fuzzSelf()
	self.members = &boot
	l := &loop{n: &Node{}, cfg: &cfg, log: slog.New(slog.DiscardHandler), self: &self, el: fakeLoop{}, disk: &diskLoop{}, rep: rep}
	l.scheduled.Store(true) // no turn comes by itself
	return l
}

// fake opens a client's connection that has said hello.
func (l *loop) fake() (*conn, *fakeConn) {
	fc := &fakeConn{}
	c := &conn{gc: fc, side: wire.ClientSide, state: connHello}
	fc.closed = func() { l.closed(c) }
	c.session = wire.NewSession(wire.SessionConfig{Side: c.side, Accepts: true}, 0)
	l.conns.add(c)
	l.conns.waiting++
	fc.in = helloBytes(wire.Hello{Side: wire.ClientSide})
	l.traffic(c)
	l.flush()
	return c, fc
}

// What one turn of the loop has to say is bounded, however many connections ask
// for how much in it, and whoever answers: the replica or the shell.
func TestRepliesOfOneTurnAreBounded(t *testing.T) {
	const each = 5 // requests of one connection: so few need not wait for others
	f := func(what string, request []byte, prepare func(l *loop)) {
		t.Helper()
		l := follower(t, nil)
		prepare(l)
		first, probe := l.fake()
		ask := func(c *conn, fc *fakeConn, n int) {
			for range n {
				fc.in = append(fc.in, request...)
			}
			l.traffic(c)
		}
		said := probe.out.Len()
		ask(first, probe, 1)
		l.endBatch()
		l.flush()
		size := probe.out.Len() - said
		if size == 0 {
			t.Fatalf("%s: not answered", what)
		}
		for range 24 << 20 / (each * size) {
			l.fake()
		}
		before := l.counters.bytesOut
		sent := func() int { return int(l.counters.bytesOut - before) }
		asked, most := 0, 0
		for _, c := range l.conns.slots {
			ask(c, c.gc.(*fakeConn), each)
			asked += each
			most = max(most, asked*size-sent())
		}
		if most > maxUnsentBytes+9<<20 {
			t.Errorf("%s: %d bytes of replies in one turn", what, most)
		}
		l.endBatch()
		l.flush()
		if got := sent(); got != asked*size {
			t.Errorf("%s: %d bytes of %d requests answered, want %d", what, got, asked, asked*size)
		}
	}
	r := &raw{}
	status := wire.AppendFrame(nil, wire.FrameStatus, 1, nil)
	f("status", status, func(*loop) {})
	f("writes without a leader", r.putFrame("k", "v"), func(*loop) {})
	f("requests while shutting down", r.putFrame("k", "v"), func(l *loop) { l.draining = true })
	f("status while founding", status, func(l *loop) { l.rep = nil })
}
