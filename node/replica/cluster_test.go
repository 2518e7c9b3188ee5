package replica_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/dnode-engine/dnode/node/kv"
	"github.com/dnode-engine/dnode/node/raft"
	"github.com/dnode-engine/dnode/node/replica"
	"github.com/dnode-engine/dnode/wire"
)

const millisecond = 1_000_000

// member is one replica of a cluster under a test's control: nothing reaches it
// or leaves its disk unless the test says so.
type member struct {
	t       *testing.T
	id      wire.NodeID
	rep     *replica.Replica
	log     [][]byte // encoded entries, by index-1
	vote    wire.Vote
	stores  []replica.Store // not yet done
	reads   []replica.ReadRequest
	replies map[uint64]wire.Frame // by request id
	count   map[uint64]int
}

type cluster struct {
	t       *testing.T
	now     int64
	members []*member
	mail    []mail
	cut     map[wire.NodeID]bool
	only    wire.NodeID // not zero: nobody else's requests for votes arrive
}

type mail struct {
	from, to wire.NodeID
	bytes    []byte
}

func newCluster(t *testing.T, n int) *cluster {
	c := &cluster{t: t, now: 1, cut: map[wire.NodeID]bool{}}
	boot := wire.Membership{NextID: wire.NodeID(n + 1)}
	for i := range n {
		id := wire.NodeID(i + 1)
		boot.Members = append(boot.Members, wire.Member{ID: id, Name: fmt.Sprintf("n%d", id), Replica: wire.ReplicaID{byte(id)}, Role: wire.Voter, ClientAddr: fmt.Sprintf("host%d:7400", id)})
	}
	for i := range n {
		c.members = append(c.members, c.start(wire.NodeID(i+1), raft.State{Fresh: true, First: 1, Members: boot}))
	}
	return c
}

func testConfig(id wire.NodeID) replica.Config {
	return replica.Config{
		Name: fmt.Sprintf("n%d", id), NewCluster: wire.ClusterID{7},
		Raft: raft.Config{
			ID: id, ElectionTicks: 10, HeartbeatTicks: 2, LeaseNanos: 80 * millisecond, Seed: uint64(id),
			MaxAppendBytes: 1 << 20, MaxInflightBytes: 4 << 20, MaxUncommittedBytes: 4 << 20, TailBytes: 4 << 20,
		},
	}
}

func (c *cluster) start(id wire.NodeID, st raft.State) *member {
	rep, err := replica.New(testConfig(id), kv.New(), st)
	if err != nil {
		c.t.Fatal(err)
	}
	return &member{t: c.t, id: id, rep: rep, replies: map[uint64]wire.Frame{}, count: map[uint64]int{}}
}

func (c *cluster) at(id wire.NodeID) *member { return c.members[id-1] }

// event runs one batch of events on a member and keeps its effects.
func (c *cluster) event(m *member, events func()) {
	m.rep.Begin(c.now)
	events()
	for {
		fx := m.rep.Effects()
		if fx.Store.Seq != 0 {
			s := fx.Store
			s.Append = append([][]byte(nil), s.Append...)
			m.stores = append(m.stores, s)
		}
		m.reads = append(m.reads, fx.Reads...)
		for _, p := range fx.Peers {
			if !c.cut[p.To] && !c.cut[m.id] {
				c.mail = append(c.mail, mail{m.id, p.To, append([]byte(nil), p.Bytes...)})
			}
		}
		for _, r := range fx.Replies {
			f, err := wire.ParseFrame(append([]byte(nil), r.Bytes...), wire.MaxFrameBytes)
			if err != nil {
				c.t.Fatal(err)
			}
			m.replies[f.ID] = f
			m.count[f.ID]++
		}
		if !fx.More {
			return
		}
		m.rep.Begin(c.now)
	}
}

// finish completes all of a member's storage and reads.
func (c *cluster) finish(m *member) bool {
	if len(m.stores) == 0 && len(m.reads) == 0 {
		return false
	}
	stores, reads := m.stores, m.reads
	m.stores, m.reads = nil, nil
	c.event(m, func() {
		for _, s := range stores {
			m.write(s)
			m.rep.Stored(replica.Completion{Seq: s.Seq})
		}
		for _, q := range reads {
			m.rep.EntriesRead(replica.ReadDone{Peer: q.Peer, Lo: q.Lo, Hi: q.Hi, Data: append([]byte(nil), m.log[q.Lo-1]...)})
		}
	})
	return true
}

func (m *member) write(s replica.Store) {
	if s.SaveVote {
		m.vote = s.Vote
	}
	for _, run := range s.Append {
		for len(run) > 0 {
			e, err := wire.ParseEntry(run)
			if err != nil {
				m.t.Fatal(err)
			}
			m.log = append(m.log[:e.Index-1], run[:e.Size])
			run = run[e.Size:]
		}
	}
}

// deliver hands over all mail that is under way.
func (c *cluster) deliver() bool {
	mails := c.mail
	c.mail = nil
	for _, m := range mails {
		if c.cut[m.to] || c.cut[m.from] {
			continue
		}
		to := c.at(m.to)
		c.event(to, func() {
			for b := m.bytes; len(b) > 0; {
				f, err := wire.ParseFrame(b, wire.MaxAppendBytes)
				if err != nil {
					c.t.Fatal(err)
				}
				b = b[f.Size:]
				if c.only != 0 && m.from != c.only && (f.Type == wire.FramePreVote || f.Type == wire.FrameVote) {
					continue
				}
				if err := to.rep.Peer(m.from, f); err != nil {
					c.t.Fatal(err)
				}
			}
		})
	}
	return len(mails) > 0
}

// settle runs disks and network until nothing is under way.
func (c *cluster) settle() {
	for busy := true; busy; {
		busy = c.deliver()
		for _, m := range c.members {
			busy = c.finish(m) || busy
		}
	}
}

func (c *cluster) tick(m *member) { c.event(m, m.rep.Tick) }

// elect makes a member the leader.
func (c *cluster) elect(id wire.NodeID) {
	c.only = id
	defer func() { c.only = 0 }()
	for range 200 {
		c.pass(1)
		if c.at(id).rep.Leading() {
			return
		}
	}
	c.t.Fatalf("member %d is not elected: %+v", id, c.at(id).rep.Raft().Status())
}

// pass lets time pass for all members that are not cut off.
func (c *cluster) pass(ticks int) {
	for range ticks {
		c.now += 10 * millisecond
		for _, m := range c.members {
			c.tick(m)
		}
		c.settle()
	}
}

func writeFrame(id uint64, command []byte) wire.Frame {
	return frame(wire.FrameWrite, id, wire.AppendWrite(nil, wire.Stamp{}, command))
}

func getFrame(id uint64, level wire.Consistency, key string) wire.Frame {
	return frame(wire.FrameRead, id, wire.AppendRead(nil, level, wire.AppendGet(nil, []byte(key))))
}

func frame(t wire.FrameType, id uint64, body []byte) wire.Frame {
	f, err := wire.ParseFrame(wire.AppendFrame(nil, t, id, body), wire.MaxFrameBytes)
	if err != nil {
		panic(err)
	}
	return f
}

func put(key, value string) []byte { return wire.AppendPut(nil, []byte(key), []byte(value)) }

func (c *cluster) request(id wire.NodeID, f wire.Frame) {
	m := c.at(id)
	c.event(m, func() { m.rep.Request(1, f) })
}

// unanswered fails unless the request has had no reply.
func (m *member) unanswered(id uint64) {
	m.t.Helper()
	if f, ok := m.replies[id]; ok {
		m.t.Fatalf("request %d is answered already, with frame type %d", id, f.Type)
	}
}

// result returns the answer to a request: its revision and result.
func (m *member) result(id uint64) (wire.Index, []byte) {
	m.t.Helper()
	f, ok := m.replies[id]
	if !ok {
		m.t.Fatalf("request %d is not answered", id)
	}
	if m.count[id] != 1 {
		m.t.Fatalf("request %d is answered %d times", id, m.count[id])
	}
	if f.Type == wire.FrameError {
		e, _ := wire.ParseError(f.Body)
		m.t.Fatalf("request %d is refused: %v", id, e)
	}
	rev, res, err := wire.ParseReply(f.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	return rev, res
}

// refused fails unless the request was refused with the code.
func (m *member) refused(id uint64, code wire.Code) *wire.Error {
	m.t.Helper()
	f, ok := m.replies[id]
	if !ok {
		m.t.Fatalf("request %d is not answered", id)
	}
	if f.Type != wire.FrameError {
		m.t.Fatalf("request %d is answered with frame type %d, not refused", id, f.Type)
	}
	e, err := wire.ParseError(f.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	if e.Code != code || m.count[id] != 1 {
		m.t.Fatalf("request %d is refused %d times with %v, not once with %v", id, m.count[id], e, code)
	}
	return e
}

func (m *member) value(id uint64) string {
	m.t.Helper()
	_, res := m.result(id)
	if wire.Status(res[0]) == wire.StatusNotFound {
		return "(none)"
	}
	it, _, err := wire.ParseItem(res[1:])
	if err != nil {
		m.t.Fatal(err)
	}
	return string(it.Value)
}

func entryTime(b []byte) uint64 { return binary.LittleEndian.Uint64(b[wire.EntryHeaderBytes:]) }

var errDisk = errors.New("input/output error")
