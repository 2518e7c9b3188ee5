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

const (
	tickNanos      = 10 * millisecond
	electionTicks  = 50
	heartbeatTicks = 5
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

	// One life.
	up      bool
	life    uint64
	store   *wal.Store
	disk    *disk.Disk
	rep     *replica.Replica
	queue   []replica.Store // waiting for the disk
	writing []replica.Store // being written; empty: the disk is idle
	reads   []replica.ReadRequest
	polling bool
	space   space

	role raft.Role
	term wire.Term
}

func newNode(c *Cluster, index int) *node {
	n := &node{c: c, index: index, id: wire.NodeID(index + 1), slow: 1}
	n.fs = crashfs.New()
	n.fs.Lie(c.opt.LyingDisk)
	return n
}

// start begins a life: recovery, then the timer.
func (n *node) start() {
	n.life++
	n.up = true
	n.queue, n.writing, n.reads = nil, nil, nil
	n.polling, n.paused, n.space = false, 0, space{}
	n.role, n.term = raft.Follower, 0
	if err := n.open(); err != nil {
		n.c.fail(fmt.Errorf("node %d does not start: %w", n.id, err))
		return
	}
	if err := n.c.check.recovered(n); err != nil {
		n.c.fail(fmt.Errorf("node %d recovers: %w", n.id, err))
		return
	}
	n.later(n.c.disks.Int64N(tickNanos), event{kind: evTick})
	n.begin()
	for i := range n.c.peers.Members {
		if m := &n.c.peers.Members[i]; m.ID != n.id {
			n.rep.PeerUp(m.ID, m.ClientAddr)
		}
	}
	n.end()
}

func (n *node) open() error {
	store, rec, votes, err := wal.OpenStore(n.fs, n.logOptions())
	if err != nil {
		return err
	}
	st, err := disk.Recovered(rec, votes, n.c.peers)
	if err != nil {
		return err
	}
	cfg := replica.Config{
		Name:       n.c.peers.Members[n.index].Name,
		NewCluster: wire.ClusterID{0xc1, byte(n.index)},
		Raft: raft.Config{
			ID: n.id, ElectionTicks: electionTicks, HeartbeatTicks: heartbeatTicks, LeaseNanos: 400 * millisecond,
			Seed:           n.c.disks.Uint64(),
			MaxAppendBytes: n.c.opt.AppendBytes, MaxInflightBytes: 256 << 10, MaxUncommittedBytes: 1 << 20,
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

func (n *node) begin() { n.rep.Begin(n.c.now) }

func (n *node) handle(e *event) {
	n.begin()
	switch e.kind {
	case evTick:
		n.rep.Tick()
		n.tickSpace()
		n.later(tickNanos, event{kind: evTick})
	case evPoll:
		n.polling = false
	case evPeer:
		n.frames(e.data, func(f wire.Frame) {
			if err := n.rep.Peer(wire.NodeID(e.from+1), f); err != nil {
				n.c.fail(fmt.Errorf("node %d: %w", n.id, err))
			}
		})
	case evRequest:
		n.frames(e.data, func(f wire.Frame) { n.rep.Request(conn(e.client), f) })
	case evStored:
		n.stored()
	case evRead:
		n.rep.EntriesRead(n.disk.Read(n.reads[e.read]))
	}
	n.end()
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
	fx := n.rep.Effects()
	if fx.Store.Seq != 0 {
		s := fx.Store
		s.Append = append([][]byte(nil), s.Append...)
		n.c.fail(n.c.check.logged(n, &s))
		n.queue = append(n.queue, s)
		n.startWrite()
	}
	for _, q := range fx.Reads {
		n.reads = append(n.reads, q)
		n.later(n.latency(), event{kind: evRead, read: len(n.reads) - 1})
	}
	for _, p := range fx.Peers {
		n.send(int(p.To)-1, p.Bytes)
	}
	n.c.fail(n.c.check.after(n))
	for _, r := range fx.Replies {
		n.c.fail(n.c.check.answered(n, r))
		n.c.at(n.c.net.delay(), event{kind: evReply, client: int(r.Conn) - 1, data: append([]byte(nil), r.Bytes...)})
	}
	if fx.More && !n.polling {
		n.polling = true
		n.later(0, event{kind: evPoll})
	}
}

func (n *node) send(to int, b []byte) {
	data := append([]byte(nil), b...)
	n.c.fail(n.c.check.sent(n, data))
	delays, count := n.c.net.deliveries(n.index, to)
	for _, d := range delays[:count] {
		n.c.at(d, event{kind: evPeer, node: to, from: n.index, data: data})
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
	n.later(n.latency(), event{kind: evStored})
}

func (n *node) stored() {
	done := n.disk.Write(n.writing)
	if n.noRoom(done) {
		return
	}
	if done.Err != nil {
		n.c.fail(fmt.Errorf("node %d cannot write: %w", n.id, done.Err))
		return
	}
	n.c.check.durable(n, n.writing)
	n.writing = n.writing[:0]
	n.rep.Stored(done)
	if n.c.disks.IntN(50) == 0 {
		if err := n.disk.Idle(); err != nil {
			n.c.fail(fmt.Errorf("node %d cannot seal: %w", n.id, err))
		}
	}
	n.startWrite()
}

// crash ends the life. A write under way is cut short at a random operation;
// kill -9 keeps all that was written, a power cut a random part of what was not
// synced.
func (n *node) crash(power bool) {
	n.up = false
	n.c.check.crashed(n)
	if len(n.writing) > 0 {
		n.c.stats.TornWrites++
		n.fs.StopAt(n.fs.Ops() + 1 + n.c.disks.IntN(12))
		n.disk.Write(n.writing)
	}
	if power {
		n.fs = n.fs.Crash(n.c.disks.Uint64())
	} else {
		n.fs = n.fs.Kill()
	}
	n.fs.Lie(n.c.opt.LyingDisk)
}
