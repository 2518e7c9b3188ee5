package sim

import (
	"fmt"

	"github.com/dnode-engine/dnode/node/disk"
	"github.com/dnode-engine/dnode/node/kv"
	"github.com/dnode-engine/dnode/node/raft"
	"github.com/dnode-engine/dnode/node/replica"
	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/crashfs"
	"github.com/dnode-engine/dnode/wire"
)

// node is one member: its disk survives its lives.
type node struct {
	c     *Cluster
	index int
	id    wire.NodeID
	fs    *crashfs.FS
	slow  int64 // factor on the disk's latency
	// paused is until when the process stands still.
	paused int64
	// out says why the node is gone for good, or is nil.
	out    error
	asleep bool // the whole machine does: nothing reaches it
	clock  clock
	// cluster is what the identity file names, zero before the founding.
	cluster wire.ClusterID

	// One life.
	up       bool
	life     uint64
	store    *wal.Store
	disk     *disk.Disk
	rep      *replica.Replica
	queue    []replica.Store // waiting for the disk
	writing  []replica.Store // being written; empty: the disk is idle
	reads    []replica.ReadRequest
	seq      uint64 // of the last batch for the disk
	record   uint64 // the batch after which the cluster is to be recorded, zero: none
	space    space
	tear     *Fault         // strikes in the middle of the next write
	hung     bool           // the disk returns nothing
	held     []event        // what it will return
	faulty   bool           // a call may fail
	fenced   bool           // the replica was seen to be fenced
	oldVote  []byte         // the file of the vote as the last start found it
	operator int64          // how long after that somebody restarts the node
	since    [2]int64       // when the oldest entries were handed over: those being written, those that wait
	begun    bool           // a batch has begun, and its effects were not taken
	batch    int64          // when that was, by the node's clock
	turning  bool           // an event that ends the batch is on its way
	ticked   int64          // the node's clock when ticks were last fed
	known    wire.ClusterID // of the configuration that the shell was told of

	role   raft.Role
	term   wire.Term
	commit wire.Index
	round  uint64 // last confirmed
	heard  int64  // when that was
}

func newNode(c *Cluster, index int) *node {
	n := &node{c: c, index: index, id: wire.NodeID(index + 1), slow: 1}
	n.clock.boot(c)
	n.fs = crashfs.New()
	n.fs.Lie(c.opt.LyingDisk)
	return n
}

// start begins a life: recovery, then the timer.
func (n *node) start() {
	n.life++
	n.up = true
	n.c.say(n.index, "starts, for the %d. time", n.life)
	n.queue, n.writing, n.reads = nil, nil, nil
	n.begun, n.turning, n.paused, n.asleep, n.space = false, false, 0, false, space{}
	n.hung, n.held, n.fenced, n.operator, n.since = false, nil, false, second, [2]int64{}
	n.seq, n.record, n.tear = 0, 0, nil
	n.role, n.term, n.commit = raft.Follower, 0, 0
	n.round, n.heard = 0, n.c.now
	if err := n.open(); err != nil {
		n.c.fail(n.notStarted(err))
		return
	}
	if err := n.c.check.recovered(n); err != nil {
		n.c.fail(fmt.Errorf("node %d recovers: %w", n.id, err))
		return
	}
	n.ticked = n.now()
	n.known = n.rep.Membership().Cluster
	n.later(n.c.disks.Int64N(n.c.opt.TickNanos), event{kind: evTick})
	n.event()
	for i := range n.c.peers.Members {
		switch m := &n.c.peers.Members[i]; {
		case m.ID == n.id:
		case n.c.opt.Streams:
			n.later(n.c.net.rand.Int64N(10*millisecond), event{kind: evDial, from: i})
		default:
			n.rep.PeerUp(m.ID, m.ClientAddr)
		}
	}
	n.end()
	n.c.linked(n, true)
}

func (n *node) open() error {
	store, st, err := n.openStore()
	if err != nil {
		return err
	}
	cfg := replica.Config{
		Name:       n.c.peers.Members[n.index].Name,
		NewCluster: wire.ClusterID{0xc1, byte(n.index)},
		BatchBytes: n.c.opt.BatchBytes,
		Raft: raft.Config{
			ID: n.id, ElectionTicks: n.c.opt.ElectionTicks, HeartbeatTicks: n.c.opt.HeartbeatTicks, LeaseNanos: n.c.opt.LeaseNanos,
			Seed:           n.c.disks.Uint64(),
			MaxAppendBytes: n.c.opt.AppendBytes, MaxInflightBytes: n.c.opt.InflightBytes, MaxUncommittedBytes: n.c.opt.UncommittedBytes,
			TailBytes: n.c.opt.TailBytes,
		},
	}
	n.store, n.disk = store, disk.New(store)
	n.rep, err = replica.New(cfg, kv.New(), st)
	return err
}

func (n *node) logOptions() wal.Options {
	return wal.Options{SegmentBytes: n.c.opt.SegmentBytes, Owner: n.c.peers.Members[n.index].Replica}
}

// later schedules an event of this life.
func (n *node) later(delay int64, e event) {
	e.node, e.life = n.index, n.life
	n.c.at(delay, e)
}

// event precedes every event of the replica: the clock is read for each, after
// its bytes were.
func (n *node) event() {
	if n.begun {
		n.rep.SetNow(n.now())
		return
	}
	n.begun, n.batch = true, n.now()
	n.rep.Begin(n.batch)
}

// handle takes one event. The batch ends with it, or a little later, with what
// else arrives until then.
func (n *node) handle(e *event) {
	if e.kind == evDisk {
		n.diskBack(e.up)
		return
	}
	if n.torn(e) {
		return
	}
	n.event()
	n.take(e)
	switch {
	case e.kind == evTurn || n.c.opt.BatchNanos == 0 || n.rep.Full():
		n.end()
	case !n.turning:
		n.turning = true
		n.later(n.c.disks.Int64N(n.c.opt.BatchNanos), event{kind: evTurn})
	}
}

func (n *node) take(e *event) {
	switch e.kind {
	case evTick:
		n.tick()
	case evTurn:
		n.turning = false
	case evPeer:
		n.frames(e.data, func(f wire.Frame) {
			n.c.check.canvass(n, f)
			if err := n.rep.Peer(wire.NodeID(e.from+1), f); err != nil {
				n.c.fail(fmt.Errorf("node %d: %w", n.id, err))
			}
		})
	case evBytes:
		n.c.net.arrive(n.c.net.get(e.op), e.from, e.read)
	case evEnd:
		n.c.net.learn(n.c.net.get(e.op), e.from)
	case evDial:
		n.c.net.dial(n, e.from)
	case evLink:
		n.link(e.from, e.up)
	case evStored:
		if !n.hangs(e) {
			n.stored()
		}
	case evRead:
		if !n.hangs(e) {
			n.read(e)
		}
	}
}

// link says that the link to a member came up or was lost.
func (n *node) link(to int, up bool) {
	m := &n.c.peers.Members[to]
	switch {
	case n.c.opt.Streams:
		n.tellLink(to)
	case up:
		n.rep.PeerUp(m.ID, m.ClientAddr)
	default:
		n.rep.PeerDown(m.ID)
	}
}

// request takes a client's request. It makes room for more replies as the shell
// does.
func (n *node) request(conn replica.ConnID, f wire.Frame) {
	n.c.check.asked(n, conn, f)
	n.rep.Request(conn, f)
	if n.rep.Full() {
		n.end()
		n.event()
	}
}

func (n *node) frames(b []byte, take func(wire.Frame)) {
	for len(b) > 0 {
		f, err := wire.ParseFrame(b, wire.MaxAppendBytes)
		if err != nil {
			n.c.fail(fmt.Errorf("node %d received a bad frame: %w", n.id, err))
			return
		}
		take(f)
		b = b[f.Size:]
	}
}

// end carries out the effects of a batch and then checks all invariants.
func (n *node) end() {
	n.begun = false
	fx := n.rep.Effects()
	n.c.traceEffects(n, fx)
	n.c.fail(n.c.check.batch(n, fx))
	if fx.Store.Seq != 0 {
		s := fx.Store
		s.Append = append([][]byte(nil), s.Append...)
		n.seq = s.Seq
		if n.queue = append(n.queue, s); n.since[1] == 0 && len(s.Append) > 0 {
			n.since[1] = n.c.now
		}
		n.startWrite()
	}
	for _, q := range fx.Reads {
		n.reads = append(n.reads, q)
		n.later(n.latency(), event{kind: evRead, read: len(n.reads) - 1})
	}
	for _, p := range fx.Peers {
		n.send(int(p.To)-1, p.Bytes)
	}
	n.fence()
	for i := range fx.Replies {
		n.c.fail(n.c.check.answered(n, fx.Replies[i]))
		n.c.net.reply(&fx.Replies[i])
	}
	n.c.check.done(n)
	n.c.fail(n.identify(fx))
	if fx.More && !n.turning {
		n.turning = true
		n.later(0, event{kind: evTurn})
	}
}

// identify does what the shell does with a new configuration: the identity file
// names the cluster of the last one that it was told of.
func (n *node) identify(fx *replica.Effects) error {
	now := n.rep.Membership().Cluster
	if fx.Membership {
		n.known = now
	}
	if n.known != now {
		return fmt.Errorf("identity: node %d is in cluster %v, its shell was told of %v", n.id, now, n.known)
	}
	if !fx.Founded {
		return nil
	}
	n.record = n.seq
	if len(n.writing)+len(n.queue) > 0 { // the disk comes to it behind those
		return nil
	}
	return n.recordCluster()
}

func (n *node) send(to int, b []byte) {
	if n.c.opt.Streams {
		n.c.fail(n.c.check.sent(n, to, b))
		n.c.net.say(n.index, to, b)
		return
	}
	data := append([]byte(nil), b...)
	n.c.fail(n.c.check.sent(n, to, data))
	for len(data) > 0 {
		size := len(data)
		if n.c.opt.Split {
			if f, err := wire.ParseFrame(data, wire.MaxAppendBytes); err == nil {
				size = f.Size
			}
		}
		delays, count := n.c.net.deliveries(n.index, to)
		for _, d := range delays[:count] {
			n.c.at(d, event{kind: evPeer, node: to, from: n.index, data: data[:size:size]})
		}
		data = data[size:]
	}
}

// latency draws how long one disk operation takes.
func (n *node) latency() int64 {
	return n.slow * (100*microsecond + int64(n.c.disks.ExpFloat64()*float64(100*microsecond)))
}

// startWrite gives all that is queued to an idle disk. The system calls happen
// when the time is over, or partly, at a crash before.
func (n *node) startWrite() {
	if len(n.writing) > 0 || len(n.queue) == 0 {
		return
	}
	n.writing, n.queue = n.queue, n.writing[:0]
	n.since = [2]int64{n.since[1], 0}
	n.later(n.latency(), event{kind: evStored})
}

func (n *node) stored() {
	done := n.disk.Write(n.writing)
	if n.noRoom(done) {
		return
	}
	if done.Err != nil {
		n.rep.Stored(done) // what was to be written may be found by the next start
		return
	}
	n.c.check.durable(n, n.writing)
	n.writing, n.since[0] = n.writing[:0], 0
	n.rep.Stored(done)
	if n.record > 0 && n.record <= done.Seq {
		n.c.fail(n.recordCluster())
	}
	if n.c.disks.IntN(50) == 0 {
		if err := n.disk.Idle(); err != nil {
			n.failed(err)
		}
	}
	n.startWrite()
}

// crash ends the life. A write under way is cut short at a random operation;
// kill -9 keeps all that was written, a power cut a random part of what was not
// synced.
func (n *node) crash(f *Fault) {
	n.up, n.faulty = false, false
	power, calls := f.Kind == FaultPower || f.Kind == FaultTear, 12
	if f.Kind == FaultTear {
		calls = 2
	}
	n.c.net.crashed(n, power)
	n.c.check.crashed(n)
	if len(n.writing) > 0 && n.disk.Err() == nil {
		n.c.stats.TornWrites++
		n.fs.StopAt(n.fs.Ops() + 1 + n.c.disks.IntN(calls))
		n.disk.Write(n.writing)
	}
	if power {
		n.fs = n.fs.Crash(f.Seed)
		n.clock.boot(n.c)
	} else {
		n.fs = n.fs.Kill()
	}
	n.fs.Lie(n.c.opt.LyingDisk)
}
