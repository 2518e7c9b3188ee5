package replica_test

import (
	"testing"

	"github.com/dnode-engine/dnode/wire"
)

func (c *cluster) space(id wire.NodeID, full bool) {
	m := c.at(id)
	c.event(m, func() { m.rep.Space(full) })
}

func TestFullDiskTakesOnlyWhatFrees(t *testing.T) {
	c := newCluster(t, 1)
	c.elect(1)
	m := c.at(1)
	c.request(1, writeFrame(1, put("k", "v")))
	c.settle()
	c.space(1, true)
	if s := m.rep.Status(); s.State != wire.StateNoSpace || !m.rep.Leading() {
		t.Fatalf("state %v, leading %v: a sole voter goes on", s.State, m.rep.Leading())
	}
	last := m.rep.Raft().Status().Last
	c.request(1, writeFrame(2, put("k", "w")))
	if e := m.refused(2, wire.CodeNoSpace); e.RetryAfterMs == 0 {
		t.Fatal("no advice when to try again")
	}
	if m.rep.Raft().Status().Last != last {
		t.Fatal("a refused write is in the log")
	}
	c.request(1, getFrame(3, wire.Linearizable, "k"))
	c.settle()
	if v := m.value(3); v != "v" {
		t.Fatalf("value %q", v)
	}
	c.request(1, writeFrame(4, wire.AppendDelete(nil, []byte("k"))))
	c.settle()
	m.result(4)
	c.space(1, false)
	c.request(1, writeFrame(5, put("k", "x")))
	c.settle()
	m.result(5)
}

func TestFullLeaderLetsAMemberWithRoomFollow(t *testing.T) {
	c := newCluster(t, 3)
	c.elect(1)
	c.request(1, writeFrame(1, put("k", "v")))
	c.finish(c.at(1))
	c.space(1, true)
	if c.at(1).rep.Leading() {
		t.Fatal("still leading")
	}
	c.pass(40)
	if c.at(1).rep.Leading() || !c.at(2).rep.Leading() && !c.at(3).rep.Leading() {
		t.Fatal("no member with room leads")
	}
	c.at(1).result(1) // it was with the others before
}

func TestAllFullStillHaveALeader(t *testing.T) {
	c := newCluster(t, 3)
	c.elect(1)
	for id := range wire.NodeID(3) {
		c.space(id+1, true)
	}
	c.pass(100)
	for id := range wire.NodeID(3) {
		if c.at(id + 1).rep.Leading() {
			c.request(id+1, writeFrame(1, wire.AppendDelete(nil, []byte("k"))))
			c.settle()
			c.at(id + 1).result(1)
			return
		}
	}
	t.Fatal("nobody leads: not even deletes are possible")
}

// Whoever has room again campaigns as soon as others do: within two election
// timeouts of silence.
func TestRoomEndsReluctance(t *testing.T) {
	c := newCluster(t, 3)
	c.space(1, true)
	c.space(1, false)
	c.only = 1
	c.pass(22)
	if m := c.at(1); !m.rep.Leading() {
		t.Fatalf("no campaign: %+v", m.rep.Raft().Status())
	}
}
