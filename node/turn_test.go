package node

import (
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

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
	l := &loop{n: &Node{kicker: time.NewTimer(time.Hour)}, cfg: &cfg, log: slog.New(slog.DiscardHandler), self: &self, el: fakeLoop{}, disk: &diskLoop{}, rep: rep}
	l.scheduled.Store(true) // no turn comes by itself
	return l
}

// fake opens a client's connection that has said hello.
func (l *loop) fake() (*conn, *fakeConn) {
	fc := &fakeConn{}
	c := &conn{gc: fc, port: &port{}, side: wire.ClientSide, state: connHello}
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
	const each = 7 // requests of one connection: so few need not wait for others
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
	f("status while founding", status, func(l *loop) { l.rep = nil })
}

// resetConn is a connection that turns out to be reset when it is written to:
// gnet closes it inside the write.
type resetConn struct{ *fakeConn }

func (c resetConn) Write([]byte) (int, error) {
	c.closed()
	return 0, syscall.ECONNRESET
}

// A connection may die of being written to while its requests are handled.
func TestConnectionDiesWhileItIsAnswered(t *testing.T) {
	l := follower(t, nil)
	l.draining = true
	c, fc := l.fake()
	c.gc = resetConn{fc}
	l.conns.unsent = maxUnsentBytes
	r := &raw{}
	for range 3 {
		fc.in = append(fc.in, r.putFrame("k", "v")...)
	}
	l.traffic(c)
	l.flush()
	if c.state != connDead || l.conns.open != 0 || l.conns.held != 0 || l.pending != 0 {
		t.Errorf("state %d, %d open, %d bytes held, %d pending", c.state, l.conns.open, l.conns.held, l.pending)
	}
	if n := l.counters.answered[replica.KindOther][wire.CodeShutdown]; n != 1 {
		t.Errorf("%d requests answered, the connection was gone after the first", n)
	}
}

// A link whose member takes nothing is cut at a bound, which is counted, and
// what is said meanwhile is dropped.
func TestLinkThatTakesNothingIsCut(t *testing.T) {
	l := follower(t, func(cfg *Config) { cfg.Limits.PeerQueueBytes = wire.MaxAppendBytes })
	fc := &fakeConn{stuck: true}
	k := &link{name: "n2", id: 2, conn: fc, lost: make(chan struct{}, 1)}
	fc.closed = func() { l.linkDown(fc, &linkConn{link: k}, nil) }
	l.links = []*link{k}
	b := make([]byte, wire.MaxAppendBytes/4)
	for range 4 {
		l.say(2, b)
	}
	if k.conn == nil || l.counters.linksCut != 0 {
		t.Fatalf("cut at the bound, %d times", l.counters.linksCut)
	}
	for range 3 {
		l.say(2, b)
	}
	if k.conn != nil || l.counters.linksCut != 1 || l.counters.peerDropped != uint64(2*len(b)) || len(l.lostLinks) != 1 {
		t.Errorf("up %v, cut %d times, %d bytes dropped", k.conn != nil, l.counters.linksCut, l.counters.peerDropped)
	}
}

// What the replica could not do in one batch it goes on with in the next turn,
// whether or not anything happens until then.
func TestWorkLeftIsDoneInTheNextTurn(t *testing.T) {
	l := follower(t, func(cfg *Config) { cfg.TickInterval = time.Hour })
	boot := wire.Membership{NextID: 2, Members: []wire.Member{{ID: 1, Name: "n1", Replica: rid(1), Role: wire.Voter}}}
	rep, err := replica.New(replica.Config{Name: "n1", Raft: raft.Config{
		ID: 1, ElectionTicks: 100, HeartbeatTicks: 1, MaxAppendBytes: 1, MaxInflightBytes: 1, MaxUncommittedBytes: 64 << 20, TailBytes: 64 << 20,
	}}, kv.New(), raft.State{First: 1, Fresh: true, Members: boot})
	if err != nil {
		t.Fatal(err)
	}
	l.rep = rep
	l.readClock()
	l.lastTick = l.now
	stored := func() {
		rep.Begin(l.now)
		seq := rep.Effects().Store.Seq
		rep.Begin(l.now)
		rep.Stored(replica.Completion{Seq: seq})
	}
	stored() // the vote: it leads
	r := &raw{}
	for i := range 8 {
		f, err := wire.ParseFrame(r.putFrame(string(rune('a'+i)), strings.Repeat("v", 900<<10)), wire.MaxFrameBytes)
		if err != nil {
			t.Fatal(err)
		}
		rep.Request(1, f)
	}
	stored()
	l.begun = true
	for range 10 {
		if err := l.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if st := rep.Raft().Status(); st.Commit < 8 || st.Applied != st.Commit {
		t.Errorf("applied %d of %d committed entries in ten turns", st.Applied, st.Commit)
	}
}
