package replica_test

import (
	"testing"

	"github.com/dnode-engine/dnode/node/raft"
	"github.com/dnode-engine/dnode/wire"
)

// told follows a member as the shell does: its cluster is that of the last
// configuration it was told of.
func (m *member) told(before wire.ClusterID, events func()) wire.ClusterID {
	m.rep.Begin(1)
	events()
	if fx := m.rep.Effects(); fx.Membership {
		return m.rep.Membership().Cluster
	}
	return before
}

func bootOf(n int) wire.Membership {
	m := wire.Membership{NextID: wire.NodeID(n + 1)}
	for i := range n {
		m.Members = append(m.Members, wire.Member{ID: wire.NodeID(i + 1), Name: string(rune('a' + i)), Role: wire.Voter})
	}
	return m
}

// founding returns the first two entries that a leader of a term writes.
func founding(term wire.Term, id wire.ClusterID) []byte {
	m := bootOf(3)
	m.Cluster = id
	b := wire.AppendEntry(nil, wire.EntryHead{Type: wire.EntryNoop, Index: 1, Term: term}, wire.AppendTime(nil, 1), nil)
	return wire.AppendEntry(b, wire.EntryHead{Type: wire.EntryConfig, Index: 2, Term: term}, wire.AppendTime(nil, 1), wire.AppendMembership(nil, &m))
}

// TestShellIsToldOfEveryFoundingEntry has two leaders write the first
// configuration. The second takes the first one's place at the same index, in
// one message.
func TestShellIsToldOfEveryFoundingEntry(t *testing.T) {
	c := &cluster{t: t, now: 1}
	m := c.start(3, raft.State{Fresh: true, First: 1, Members: bootOf(3)})
	var told wire.ClusterID
	for i, id := range []wire.ClusterID{{1}, {2}} {
		term := wire.Term(i + 1)
		f := wire.AppendPeerFrame(nil, &wire.PeerMessage{Type: wire.FrameAppend, From: wire.NodeID(term), To: 3, Term: term, Entries: founding(term, id)})
		told = m.told(told, func() {
			if err := m.rep.Peer(wire.NodeID(term), mustFrame(t, f)); err != nil {
				t.Fatal(err)
			}
		})
		if told != id {
			t.Fatalf("cluster %v is in force, the shell was told of %v", id, told)
		}
	}
}

func mustFrame(t *testing.T, b []byte) wire.Frame {
	f, err := wire.ParseFrame(b, wire.MaxAppendBytes)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestWritesBeyondTheLogAreAnswered has a leader lose its log's end to another
// and lead again at once: nothing will ever be applied at those indexes unless
// somebody writes, so their clients must not wait for it.
func TestWritesBeyondTheLogAreAnswered(t *testing.T) {
	c := newCluster(t, 3)
	c.elect(1)
	c.pass(5)
	c.cut[1] = true
	for id := uint64(1); id <= 9; id++ {
		c.request(1, writeFrame(id, put("k", "v")))
	}
	c.finish(c.at(1))
	c.electAmong(2, 2, 3) // member 1 stands still meanwhile
	c.cut[1] = false
	for range 5 {
		c.now += 10 * millisecond
		c.tick(c.at(2))
		c.settle()
	}
	c.cut[2] = true
	c.electAmong(1, 1, 3)
	c.pass(50)
	old := c.at(1)
	if w := old.rep.Pending().Writes; w != 0 {
		t.Fatalf("%d writes wait for ever", w)
	}
	old.refused(9, wire.CodeUnknown)
}

// electAmong makes a member the leader while time passes for some only.
func (c *cluster) electAmong(id wire.NodeID, awake ...wire.NodeID) {
	c.only = id
	defer func() { c.only = 0 }()
	for range 200 {
		c.now += 10 * millisecond
		for _, m := range awake {
			c.tick(c.at(m))
		}
		c.settle()
		if c.at(id).rep.Leading() {
			return
		}
	}
	c.t.Fatalf("member %d is not elected", id)
}
