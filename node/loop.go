package node

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"

	"github.com/dnode-engine/dnode/node/replica"
	"github.com/dnode-engine/dnode/wire"
)

// loop is everything that gnet's one event loop owns: the replica, the
// connections, the links. Its fields are touched by that goroutine alone, except
// the atomic ones and the inbox; el is set once, before others know of it.
//
// Events reach the replica directly from OnTraffic. The first one of a turn
// schedules Run, which gnet executes after the current batch of events; Run
// adds what other goroutines have left in the inbox, takes the effects and
// carries them out.
type loop struct {
	gnet.BuiltinEventEngine

	n    *Node
	cfg  *Config
	log  *slog.Logger
	disk *diskLoop

	el gnet.EventLoop

	scheduled atomic.Bool // Run is on its way
	killed    atomic.Bool // nothing may leave any more
	ended     atomic.Bool // gnet is closing: its poller must not be woken
	in        inbox

	rep     *replica.Replica // nil while the cluster is being founded
	begun   bool             // rep.Begin was called and Effects was not
	now     int64            // when the events at hand were read
	self    *self
	founder *founder // nil once rep is there
	state   func(boot wire.Membership) (*replica.Replica, error)

	conns     conns
	links     []*link
	lostLinks []*link
	recorded  bool // the identity file names the cluster
	pending   int  // requests handed to the replica and not answered
	more      bool // the replica has work left, for the next turn

	bulk       bulk           // of all connections
	lightAt    int64          // when a light connection last asked, zero: not lately
	lightBy    replica.ConnID // who that was
	lightUntil atomic.Int64   // for others: till then light connections come first
	otherAt    int64          // when another light one last asked

	bulkUntil int64          // bulk has had its share of time till then
	first     replica.ConnID // who has waited longest of those that yield, zero: nobody

	draining bool

	lastTick  int64
	ticks     uint64
	fenced    bool
	hangs     atomic.Bool // the disk does, as last logged
	leader    wire.NodeID // as last logged
	term      wire.Term
	counters  counters
	scratch   []byte
	warnedAt  int64 // of the last warning about a refused connection
	wantSweep int   // ticks until the next sweep
}

// inbox is what other goroutines leave for the loop.
type inbox struct {
	mu     sync.Mutex
	stored replica.Completion // of all batches up to Seq; an error stays
	has    bool
	reads  []replica.ReadDone
	calls  []func(*loop)
}

// sweepInterval is how often connections are looked at and counters published.
const sweepInterval = 100 * time.Millisecond

// maxTicksAtOnce is how many missed ticks are made up for, as a share of the
// election timeout: a process that was stopped must first hear what its peers
// have sent meanwhile before it calls for an election, and yet a leader that was
// stopped must soon notice that its quorum may be gone. Leases and rounds go by
// the clock, not by ticks.
const maxTicksAtOnce = 2 // one half

// OnShutdown is called before gnet closes anything.
func (l *loop) OnShutdown(gnet.Engine) { l.ended.Store(true) }

// OnOpen takes over a new connection.
func (l *loop) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	switch ctx := c.Context().(type) {
	case *conn:
		l.readClock()
		return nil, l.accept(c, ctx)
	case *linkConn:
		l.readClock()
		return nil, l.linkUp(c, ctx)
	}
	return nil, gnet.None
}

// OnClose forgets a connection. It may run inside a Write of ours.
func (l *loop) OnClose(c gnet.Conn, err error) gnet.Action {
	switch ctx := c.Context().(type) {
	case *conn:
		l.closed(ctx)
	case *linkConn:
		l.linkDown(c, ctx, err)
	case anchor: // gnet closes everything when its loop has ended
		close(l.n.loopDone)
	}
	return gnet.None
}

// OnTraffic handles what one connection has sent.
func (l *loop) OnTraffic(c gnet.Conn) gnet.Action {
	if l.killed.Load() {
		return gnet.None
	}
	switch ctx := c.Context().(type) {
	case *conn:
		return l.traffic(ctx)
	case *linkConn:
		return l.hearLink(c, ctx.link)
	}
	return gnet.Close
}

// readClock takes the time for the events that follow. It runs once for each
// connection's bytes, after they were read: a lease must not be judged by a time
// from before its request arrived.
func (l *loop) readClock() {
	l.now = monotonic()
	if l.begun {
		l.rep.SetNow(l.now)
	}
}

// event precedes every event of the replica.
func (l *loop) event() {
	if !l.begun {
		l.begun = true
		l.rep.Begin(l.now)
	}
}

// post makes Run happen after the current batch of events, or soon, if called
// by another goroutine.
func (l *loop) post() {
	if !l.ended.Load() && l.scheduled.CompareAndSwap(false, true) {
		_ = l.el.Execute(context.Background(), l) // fails only when the engine has ended
	}
}

// call runs f on the loop, soon.
func (l *loop) call(f func(*loop)) {
	l.in.mu.Lock()
	l.in.calls = append(l.in.calls, f)
	l.in.mu.Unlock()
	l.post()
}

// Run is the end of a batch. It is called by gnet on the loop.
func (l *loop) Run(context.Context) error {
	l.scheduled.Store(false) // first: whatever comes now schedules the next
	l.counters.turns++
	l.readClock()
	stored, has, reads, calls := l.takeInbox()
	for _, f := range calls {
		f(l)
	}
	if l.killed.Load() {
		return nil
	}
	l.forgetLinks()
	if l.rep != nil {
		if has {
			l.event()
			l.rep.Stored(stored)
		}
		for i := range reads {
			l.event()
			l.rep.EntriesRead(reads[i])
		}
		if l.more {
			l.more = false
			l.event()
		}
	}
	l.tick()
	l.endBatch()
	l.resume()
	l.lightUntil.Store(l.lightAt + yieldNanos)
	l.flush()
	l.store()
	return nil
}

// store writes what this turn has left for the disk while syncs are short, after
// everything was said that need not wait for them. They are all that the loop ever
// waits for.
func (l *loop) store() {
	mixed := l.bulk != (bulk{}) && l.lightAsk() // whose reads need not wait for bulk's writes
	c := l.disk.inline(!mixed)
	if c.Seq == 0 || l.killed.Load() {
		return
	}
	l.readClock()
	l.event()
	l.rep.Stored(c)
	l.endBatch()
	l.flush()
	if writes, others := l.disk.waiting(); writes || others {
		l.post()
	}
}

// endBatch takes the effects of the events so far.
func (l *loop) endBatch() {
	if l.begun {
		l.begun = false
		l.carryOut(l.rep.Effects())
	}
}

// makeRoom writes what is to be said before the end of the turn if it is much:
// one turn may take requests from all connections, and each of them may be
// answered with a hundred times its bytes.
func (l *loop) makeRoom() {
	if l.begun && l.rep.Full() {
		l.endBatch()
	}
	if l.conns.unsent > maxUnsentBytes {
		l.flush()
	}
}

func (l *loop) takeInbox() (stored replica.Completion, has bool, reads []replica.ReadDone, calls []func(*loop)) {
	l.in.mu.Lock()
	defer l.in.mu.Unlock()
	stored, has, reads, calls = l.in.stored, l.in.has, l.in.reads, l.in.calls
	l.in.has, l.in.reads, l.in.calls = false, nil, nil
	return stored, has, reads, calls
}

// carryOut hands effects to those who carry them out: the disk first, so that
// it works while frames are written.
func (l *loop) carryOut(fx *replica.Effects) {
	l.disk.enqueue(&fx.Store, fx.Reads)
	for i := range fx.Peers {
		l.say(fx.Peers[i].To, fx.Peers[i].Bytes)
	}
	for i := range fx.Replies {
		l.reply(&fx.Replies[i])
	}
	if fx.Membership {
		l.membershipChanged()
	}
	if fx.Founded {
		l.founded()
	}
	if fx.More {
		l.more = true
		l.n.kickLoop()
	}
}

func (l *loop) reply(r *replica.Reply) {
	l.counters.answered[r.Kind][min(int(r.Code), maxCodes-1)]++
	c := l.conns.get(r.Conn)
	if c == nil {
		l.counters.repliesLost++
		return
	}
	l.answered(c, r.Request, len(r.Bytes))
	c.session.Replied(r.Request)
	if c.state == connOpen {
		l.conns.append(c, r.Bytes)
	}
}

// ticksDue returns how many whole ticks lie between last and now, and how many
// of them are to be fed.
func ticksDue(cfg *Config, last, now int64) (due, feed int64) {
	due = max(0, (now-last)/int64(cfg.TickInterval))
	return due, min(due, int64(cfg.ElectionTicks/maxTicksAtOnce))
}

// tick feeds the ticks that have passed since the last time, up to a bound.
func (l *loop) tick() {
	due, feed := ticksDue(l.cfg, l.lastTick, l.now)
	if due == 0 {
		return
	}
	l.lastTick += due * int64(l.cfg.TickInterval)
	l.ticks += uint64(due)
	for range feed {
		if l.rep != nil {
			l.event()
			l.rep.Tick()
		}
	}
	l.n.lastTick.Store(l.now)
	if l.wantSweep -= int(feed); l.wantSweep <= 0 {
		l.wantSweep = max(1, int(sweepInterval/l.cfg.TickInterval))
		l.sweep()
		l.publish()
	}
	l.logChanges()
}

// logChanges says once what an operator wants to know.
func (l *loop) logChanges() {
	if l.rep == nil {
		return
	}
	core := l.rep.Raft()
	if lead, term := core.Leader(), core.Term(); lead != l.leader || term != l.term && lead != 0 {
		l.leader, l.term = lead, term
		l.counters.leaderChanges++
		name := "none"
		if m := l.self.members.Find(lead); m != nil {
			name = m.Name
		}
		l.log.Info("leader changed", "event", "raft.leader", "leader", name, "term", uint64(term), "self", lead == l.id())
	}
	l.logHang()
	if err := l.rep.Fenced(); err != nil && !l.fenced {
		l.fenced = true
		l.log.Error("the disk failed: this node no longer votes or acknowledges; check the disk and its file system, then restart the node", "event", "disk.fenced", "err", err)
		l.n.setErr(fmt.Errorf("the disk failed, and this node took no part since: check the disk and its file system, then start again: %w", err))
	}
}

// logHang says that the disk hangs: a sole voter leads on, and nothing else tells.
func (l *loop) logHang() {
	hangs := l.rep.Raft().Status().DiskStalled
	if l.rep.Fenced() != nil || !l.hangs.CompareAndSwap(!hangs, hangs) {
		return
	}
	if hangs {
		l.log.Warn(hangText, "event", "disk.hangs")
	} else {
		l.log.Info("the disk has returned", "event", "disk.returned")
	}
}

const hangText = "the disk has not returned for an election timeout: this node acknowledges nothing until it does; look at the disk and its file system"

// watchDisk says so while the loop waits for the disk and cannot. It is called by
// the ticker.
func (l *loop) watchDisk() {
	since := l.disk.inlineAt.Load()
	if since != 0 && monotonic()-since > l.cfg.electionNanos() && l.hangs.CompareAndSwap(false, true) {
		l.log.Warn(hangText, "event", "disk.hangs")
	}
}

func (l *loop) id() wire.NodeID {
	if l.self.members == nil {
		return 0
	}
	if m := l.self.members.FindName(l.self.name); m != nil {
		return m.ID
	}
	return 0
}

// launch starts the replica from the given configuration.
func (l *loop) launch(boot wire.Membership) error {
	rep, err := l.state(boot)
	if err != nil {
		return err
	}
	l.rep, l.founder = rep, nil
	l.readClock()
	l.lastTick = l.now
	l.membershipChanged()
	l.event()
	l.post()
	return nil
}

// heard notes that a member answered, and founds or joins if that settles it.
func (l *loop) heard(name string, ack wire.HelloAck) {
	names := l.cfg.clusterNames()
	l.founder.heard[name] = ack
	missing := l.founder.missing(l.self, names)
	joins := !ack.Cluster.IsZero()
	if !joins && len(missing) > 0 {
		l.log.Info("member found", "event", "founding.heard", "peer", name, "missing", strings.Join(missing, ","))
		return
	}
	if joins { // they founded with us while we were away
		s := *l.self
		s.cluster = ack.Cluster
		l.publishSelf(&s)
	}
	l.log.Info("starting from the bootstrap list", "event", "founding.start", "joins", joins, "members", strings.Join(names, ","))
	if err := l.launch(l.founder.bootstrap(l.self, names)); err != nil {
		l.n.fail(err)
	}
}

func (l *loop) foundingText() string {
	return "waiting for " + strings.Join(l.founder.missing(l.self, l.cfg.clusterNames()), ", ")
}

// membershipChanged takes over the configuration in force.
func (l *loop) membershipChanged() {
	m := *l.rep.Membership()
	m.Members = append([]wire.Member(nil), m.Members...)
	s := *l.self
	s.members = &m
	l.publishSelf(&s)
	l.identifyPeers()
	if !l.draining {
		l.dialMembers()
	}
}

// founded records that the cluster exists: its first configuration is
// committed.
func (l *loop) founded() {
	s := *l.self
	if s.cluster == s.members.Cluster && l.recorded { // a restart applies it again
		return
	}
	l.recorded = true
	s.cluster = s.members.Cluster
	l.publishSelf(&s)
	l.log.Info("cluster founded", "event", "cluster.founded", "cluster", s.cluster.String(), "id", uint64(l.id()))
	l.disk.saveIdentity(s.cluster, l.id())
}

func (l *loop) publishSelf(s *self) {
	l.self = s
	l.n.self.Store(s)
}

// stored is what the disk goroutine reports to.
func (l *loop) stored(c replica.Completion, reads []replica.ReadDone) {
	l.in.mu.Lock()
	if c.Seq != 0 || c.Err != nil {
		if l.in.stored.Err == nil {
			l.in.stored = c
		}
		l.in.has = true
	}
	l.in.reads = append(l.in.reads, reads...)
	l.in.mu.Unlock()
	l.post()
}
