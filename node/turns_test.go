package node

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/node/kv"
	"github.com/dnode-engine/dnode/node/raft"
	"github.com/dnode-engine/dnode/node/replica"
	"github.com/dnode-engine/dnode/wire"
)

// turns is a loop with connections that ask and are answered.
type turns struct {
	*loop
	conns []*conn
}

func newTurns(count int) *turns {
	s := &turns{loop: &loop{disk: &diskLoop{}, now: int64(time.Hour)}}
	for i := range count {
		s.conns = append(s.conns, &conn{id: replica.ConnID(i + 1), side: wire.ClientSide, state: connOpen})
	}
	return s
}

// take asks n times for a connection, as often as it need not yield.
func (s *turns) take(i, n, size int) (taken int) {
	c := s.conns[i]
	for taken < n && !s.mustYield(c, ask{size: size, write: true}) {
		s.asks(c, ask{size: size, write: true})
		taken++
	}
	return taken
}

func (s *turns) answer(i, n, size int) {
	for range n {
		s.answered(s.conns[i], size, 0)
	}
}

// rest lets the time pass that bulk has to pay for, while the light ones ask.
func (s *turns) rest() {
	for s.bulkUntil > s.now {
		s.now += int64(time.Millisecond)
		s.light()
	}
}

// bulkByTime is how many writes of that size come at once, after a rest.
func bulkByTime(size int) int {
	cost := bulkNanos + int64(size)*int64(time.Second)/writeRate
	return int(burstNanos/cost) + 1
}

// light makes the light ones known: connection 0 asks and is answered.
func (s *turns) light() {
	s.take(0, 1, 100)
	s.answer(0, 1, 100)
}

func TestBulkLetsLightGoFirst(t *testing.T) {
	const many = 10_000
	f := func(what string, got, want int) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %d are taken, want %d", what, got, want)
		}
	}

	s := newTurns(1)
	f("nobody else asks", s.take(0, many, 100), many)

	s = newTurns(3)
	f("the first of two who ask for much", s.take(1, many, 100), many)
	f("and the second", s.take(2, many, 100), many)

	s = newTurns(4)
	s.light()
	f("bulk over time", s.take(1, many, 100), lightRequests+bulkByTime(100))
	s.rest()
	f("bulk by number", s.take(1, many, 100), bulkRequests-bulkByTime(100))
	s.rest()
	f("a second connection has its light share", s.take(2, many, 100), lightRequests)
	f("light while there is much bulk", s.take(3, lightRequests, 100), lightRequests)
	s.answer(1, 10, 100)
	s.rest()
	f("what was answered may be asked again", s.take(2, many, 100), min(10, bulkByTime(100)))
	s.answer(1, lightRequests+bulkRequests-10, 100)
	s.now += yieldNanos
	f("light ones have gone", s.take(1, many, 100), many)

	s = newTurns(4)
	s.light()
	taken := 0
	for range 10 {
		taken += s.take(1, many, 10_000)
		s.rest()
	}
	f("bulk by bytes", taken, bulkBytes/10_000)
	f("a second connection", s.take(2, many, 10_000), lightBytes/10_000)

	s = newTurns(4)
	s.light()
	const large = 1 << 20
	f("large writes", s.take(1, many, large), 1)
	f("another's", s.take(2, many, large), 0)
	s.answer(1, 1, large)
	f("at once after the first", s.take(1, many, large), 0)
	s.rest()
	f("later", s.take(2, many, large), 1)
	s.now += yieldNanos
	f("large writes among themselves", s.take(1, many, large), many)

	s = newTurns(2)
	f("much by one alone", s.take(1, many, large), many)
	s.answer(1, many, large)
	s.now += 4 * maxDebtNanos
	s.light()
	f("what it had alone is not held against it", s.take(1, many, large), 1)

	s = newTurns(4)
	s.light()
	s.take(1, 1, 100)
	s.answered(s.conns[1], 100, large) // a page of a scan
	f("at once after a large reply", s.take(1, many, 100), 0)
	s.rest()
	f("after a large reply", s.take(1, many, 100), 1)
	s.take(2, 1, 100)
	s.answered(s.conns[2], 100, large)
	s.rest()
	f("one of those at a time", s.take(2, many, 100), 0)
	scan := ask{size: 100, scan: true}
	if !s.mustYield(s.conns[3], scan) {
		t.Error("the first scan of a connection is taken for a light request")
	}
	s.answer(1, 1, 100) // a small page this time
	s.asks(s.conns[3], scan)
	if !s.mustYield(s.conns[2], scan) {
		t.Error("a second scan is taken beside another's first")
	}
	s.answer(3, 1, 100)
	if s.conns[3].heavy || s.mustYield(s.conns[3], scan) {
		t.Error("a scan with a small page is heavy for ever")
	}

	s = newTurns(4)
	s.disk.tight.Store(true)
	f("no segment is prepared", s.take(1, many, 100), lightRequests)
	f("a large write then", s.take(2, many, large), 0)
	if s.mustYield(s.conns[1], ask{size: 100}) {
		t.Error("reads wait for a segment")
	}

	s = newTurns(2)
	s.light()
	s.conns[1].side = wire.PeerSide
	f("a member", s.take(1, many, large), many)
}

// Whatever is asked, answered and closed, nothing is left of it in the end.
func TestBulkIsCountedOff(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	s := newTurns(20)
	asked := make([][]int, len(s.conns))
	for range 100_000 {
		i := rnd.IntN(len(s.conns))
		c := s.conns[i]
		if size := 1 << rnd.IntN(21); rnd.IntN(2) == 0 && s.take(i, 1, size) == 1 {
			asked[i] = append(asked[i], size)
		} else if n := len(asked[i]); n > 0 {
			s.answered(c, asked[i][n-1], 1<<rnd.IntN(21))
			asked[i] = asked[i][:n-1]
		}
		s.now += int64(rnd.IntN(int(time.Millisecond)))
		var sum bulk
		for _, c := range s.conns {
			b := c.bulk()
			sum.requests, sum.bytes = sum.requests+b.requests, sum.bytes+b.bytes
		}
		if s.bulk != sum {
			t.Fatalf("%+v is counted, %+v are in flight", s.bulk, sum)
		}
	}
	for i, sizes := range asked {
		for _, size := range sizes {
			s.answer(i, 1, size)
		}
	}
	if (s.bulk != bulk{}) || s.pending != 0 {
		t.Errorf("%+v, %d pending at the end", s.bulk, s.pending)
	}
}

// soleLeader is a loop with the leader of a cluster of one, whose disk is done
// when stored is called.
func soleLeader(t *testing.T) *loop {
	t.Helper()
	l := follower(t, nil)
	boot := wire.Membership{NextID: 2, Members: []wire.Member{{ID: 1, Name: "n1", Replica: rid(1), Role: wire.Voter}}}
	self := *fuzzSelf()
	self.members = &boot
	rep, err := replica.New(replica.Config{Name: "n1", Raft: raft.Config{
		ID: 1, ElectionTicks: 10, HeartbeatTicks: 1, MaxAppendBytes: 4 << 20, MaxInflightBytes: 4 << 20, MaxUncommittedBytes: 64 << 20, TailBytes: 64 << 20,
	}}, kv.New(), raft.State{First: 1, Members: boot})
	if err != nil {
		t.Fatal(err)
	}
	l.self, l.rep, l.now, l.begun = &self, rep, int64(time.Hour), false
	for range 100 {
		l.event()
		rep.Tick()
		l.turn()
	}
	return l
}

// turn is one of the loop, in which all that was given to the disk is done.
func (l *loop) turn() {
	l.endBatch()
	if n := len(l.disk.next.stores); n > 0 {
		l.event()
		l.rep.Stored(replica.Completion{Seq: l.disk.next.stores[n-1].Seq})
		l.disk.next.reset()
	}
	l.endBatch()
	l.resume()
	l.flush()
}

// However much one connection asks for, another that waits has its turn.
func TestBulkConnectionsTakeTurns(t *testing.T) {
	type asks struct{ many, size int }
	f := func(what string, one, other asks, least int) {
		t.Helper()
		l, r := soleLeader(t), &raw{}
		light, _ := l.fake()
		a, _ := l.fake()
		b, _ := l.fake()
		ask := func(c *conn, q asks) {
			value := strings.Repeat("v", q.size)
			for n, _ := c.session.InFlight(); n+c.waiting < q.many; {
				l.frames(c, r.putFrame("k", value))
				n, _ = c.session.InFlight()
			}
		}
		served := 0
		l.now = int64(time.Hour)
		for range 640 {
			l.now += int64(time.Millisecond)
			l.frames(light, r.putFrame("k", "v"))
			ask(a, one)
			ask(b, other)
			before := b.waiting
			l.turn()
			served += before - b.waiting
		}
		if served < least {
			t.Errorf("%s: %d requests of the other are taken in 640 turns, want %d", what, served, least)
		}
	}
	f("large requests", asks{6, 1<<20 - 200}, asks{1, 1<<20 - 200}, 5)
	f("a large request beside smaller ones", asks{700, 10_000}, asks{1, 1<<20 - 200}, 10)
	f("requests of some size", asks{500, 10_000}, asks{2, 100_000}, 100)
	f("many small requests", asks{4000, 100}, asks{4000, 100}, 7000)
}

// Requests that wait do not wait for a tick when those before them are answered
// at once.
func TestYieldedReadsNeedNoTick(t *testing.T) {
	const count = 2000
	cfg := testConfig(t, "n1")
	cfg.TickInterval = 100 * time.Millisecond
	n := start(t, cfg)
	light, c := mustConnect(t, n.ClientAddr()), mustConnect(t, n.ClientAddr())
	eventually(t, "put", func() error { return light.put("k", "v") })
	var b []byte
	for range count {
		b = append(b, c.getFrame(wire.Stale, "k")...)
	}
	begin := time.Now()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	for range count {
		if _, err := c.next(); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(begin); took > time.Duration(yieldNanos)/2 {
		t.Errorf("%d reads took %v", count, took)
	}
}

// A node that stops answers what waits, however long it might have to.
func TestYieldedRequestsAreRefusedAtTheEnd(t *testing.T) {
	l, r := soleLeader(t), &raw{}
	light, _ := l.fake()
	c, fc := l.fake()
	l.now = int64(time.Hour)
	l.frames(light, r.putFrame("k", "v"))
	large := strings.Repeat("v", 1<<20-200)
	l.frames(c, r.putFrame("k", large))
	l.turn()
	l.turn()
	l.frames(c, r.putFrame("k", large)) // too early after the first
	if !c.yields || l.pending != 0 {
		t.Fatalf("it does not wait, %d are in flight", l.pending)
	}
	said := fc.out.Len()
	if l.drained() {
		t.Error("drained with a request that waits")
	}
	l.turn()
	f, err := wire.ParseFrame(fc.out.Bytes()[said:], wire.MaxFrameBytes)
	if err != nil || f.Type != wire.FrameError {
		t.Fatalf("answered by %v, %v", f.Type, err)
	}
	if e, err := wire.ParseError(f.Body); err != nil || e.Code != wire.CodeShutdown {
		t.Errorf("answered by %v, %v", e, err)
	}
	if !l.drained() {
		t.Error("not drained when all is answered")
	}
}

// What is known of a request before it is parsed is what is known of it then.
func TestPeek(t *testing.T) {
	scan := wire.AppendRead(nil, wire.Stale, wire.AppendScan(nil, wire.Query{Limit: 10}))
	get := wire.AppendRead(nil, wire.Stale, wire.AppendGet(nil, []byte("key")))
	f := func(name string, typ wire.FrameType, body []byte, want ask) {
		t.Helper()
		plain := wire.AppendFrame(nil, typ, 7, body)
		b := wire.BeginTracedFrame(nil, typ, 7, &wire.Trace{})
		traced := wire.EndFrame(append(b, body...), 0)
		for _, b := range [][]byte{plain, traced} {
			want.size = len(b)
			parsed, err := wire.ParseFrame(b, wire.MaxFrameBytes)
			if err != nil {
				t.Fatal(err)
			}
			got, whole := peek(append(b, b...))
			if !whole || got != want || got != askOf(parsed) {
				t.Errorf("%s: %+v %v before, %+v after parsing, want %+v", name, got, whole, askOf(parsed), want)
			}
			for n := range b {
				if _, whole := peek(b[:n]); whole {
					t.Errorf("%s: %d of %d bytes are taken for a whole frame", name, n, len(b))
				}
			}
		}
	}
	f("scan", wire.FrameRead, scan, ask{scan: true})
	f("get", wire.FrameRead, get, ask{})
	f("write", wire.FrameWrite, wire.AppendWrite(nil, wire.Stamp{}, []byte{2, 2}), ask{write: true})
	f("status", wire.FrameStatus, nil, ask{})
}
