package replica_test

import (
	"strings"
	"testing"

	"github.com/dnode-engine/dnode/node/replica"
	"github.com/dnode-engine/dnode/wire"
)

func TestWriteIsAnsweredOnlyAfterItsOwnDisk(t *testing.T) {
	c := newCluster(t, 1)
	c.elect(1)
	m := c.at(1)
	c.request(1, writeFrame(1, put("k", "v")))
	c.tick(m)
	m.unanswered(1)
	c.finish(m)
	if rev, res := m.result(1); rev == 0 || wire.Status(res[0]) != wire.StatusOK {
		t.Fatalf("revision %d, result %x", rev, res)
	}
}

func TestWriteIsAnsweredOnlyAfterAMajorityOfDisks(t *testing.T) {
	c := newCluster(t, 3)
	c.elect(1)
	lead, a, b := c.at(1), c.at(2), c.at(3)
	c.request(1, writeFrame(1, put("k", "v")))
	c.finish(lead)
	c.deliver()
	c.deliver()
	c.tick(lead)
	lead.unanswered(1) // both followers hold it, but only in memory
	c.finish(a)
	c.deliver()
	lead.result(1)
	c.finish(b)
	c.settle()
	lead.result(1)
}

func TestLeaderDoesNotCountItselfBeforeItsDisk(t *testing.T) {
	c := newCluster(t, 3)
	c.elect(1)
	lead := c.at(1)
	c.request(1, writeFrame(1, put("k", "v")))
	c.deliver()
	c.finish(c.at(2))
	c.deliver()
	lead.unanswered(1) // on one disk of three
	c.finish(c.at(3))
	c.deliver()
	lead.result(1) // on two, the leader's not among them
}

func TestFollowerNamesTheLeader(t *testing.T) {
	c := newCluster(t, 3)
	c.elect(2)
	c.request(1, writeFrame(1, put("k", "v")))
	if e := c.at(1).refused(1, wire.CodeNotLeader); e.Leader != "host2:7400" {
		t.Fatalf("leader %q", e.Leader)
	}
	c.event(c.at(1), func() { c.at(1).rep.PeerUp(2, "moved:1") })
	c.request(1, getFrame(2, wire.Linearizable, "k"))
	if e := c.at(1).refused(2, wire.CodeNotLeader); e.Leader != "moved:1" {
		t.Fatalf("leader %q", e.Leader)
	}
	rep := c.at(1).rep
	if st := rep.Status(); st.Members[1].ClientAddr != "moved:1" || st.Members[2].ClientAddr != "host3:7400" {
		t.Errorf("status names %+v", st.Members)
	}
	if m := rep.Membership(); m.Members[1].ClientAddr != "host2:7400" {
		t.Errorf("the configuration was changed: %+v", m.Members)
	}
}

func TestNobodyLeads(t *testing.T) {
	c := newCluster(t, 3)
	c.request(1, writeFrame(1, put("k", "v")))
	c.at(1).refused(1, wire.CodeUnavailable)
	c.request(1, getFrame(2, wire.Linearizable, "k"))
	c.at(1).refused(2, wire.CodeUnavailable)
	c.request(1, getFrame(3, wire.Stale, "k"))
	if v := c.at(1).value(3); v != "(none)" {
		t.Fatalf("value %q", v)
	}
}

func TestBadRequestsAreRefusedBeforeTheLog(t *testing.T) {
	c := newCluster(t, 1)
	c.elect(1)
	last := c.at(1).rep.Raft().Status().Last
	id := uint64(0)
	f := func(body []byte, typ wire.FrameType, code wire.Code) {
		t.Helper()
		id++
		c.request(1, frame(typ, id, body))
		c.at(1).refused(id, code)
	}
	f(nil, wire.FrameWrite, wire.CodeBadRequest)
	f(wire.AppendWrite(nil, wire.Stamp{}, nil), wire.FrameWrite, wire.CodeBadRequest)
	f(wire.AppendWrite(nil, wire.Stamp{}, put("", "v")), wire.FrameWrite, wire.CodeBadRequest)
	f(wire.AppendWrite(nil, wire.Stamp{}, put(strings.Repeat("k", wire.MaxKeyBytes+1), "v")), wire.FrameWrite, wire.CodeTooLarge)
	f(wire.AppendWrite(nil, wire.Stamp{}, put("k", strings.Repeat("v", wire.MaxCommandBytes))), wire.FrameWrite, wire.CodeTooLarge)
	f(wire.AppendWrite(nil, wire.Stamp{Session: 1, Seq: 1, Acked: 0}, put("k", "v")), wire.FrameWrite, wire.CodeUnknownType)
	f(nil, wire.FrameRead, wire.CodeBadRequest)
	f(wire.AppendRead(nil, wire.Stale, []byte{99}), wire.FrameRead, wire.CodeBadRequest)
	f(nil, wire.FrameHello, wire.CodeUnknownType)
	if now := c.at(1).rep.Raft().Status().Last; now != last {
		t.Fatalf("the log grew from %d to %d", last, now)
	}
}

func TestReadWaitsForARoundThatBeganAfterIt(t *testing.T) {
	c := newCluster(t, 3)
	c.elect(1)
	lead := c.at(1)
	c.request(1, writeFrame(1, put("k", "v")))
	c.settle()
	c.request(1, getFrame(2, wire.Linearizable, "k"))
	first := c.mail
	c.mail = nil
	lead.unanswered(2)
	c.request(1, getFrame(3, wire.Linearizable, "k"))
	c.mail = first // only the first round is delivered
	c.deliver()
	c.deliver()
	if v := lead.value(2); v != "v" {
		t.Fatalf("value %q", v)
	}
	lead.unanswered(3)
	c.pass(3)
	lead.value(3)
}

func TestCutOffLeaderAnswersNoRead(t *testing.T) {
	c := newCluster(t, 3)
	c.elect(1)
	c.request(1, writeFrame(1, put("k", "old")))
	c.settle()
	c.cut[1] = true
	c.request(1, getFrame(2, wire.Linearizable, "k"))
	c.settle()
	c.at(1).unanswered(2)
	c.elect(2)
	c.request(2, writeFrame(3, put("k", "new")))
	c.settle()
	c.at(2).result(3)
	c.cut[1] = false
	c.pass(5)
	c.at(1).refused(2, wire.CodeNotLeader)
}

func TestLeaseReadEndsWithTheLease(t *testing.T) {
	c := newCluster(t, 3)
	c.elect(1)
	c.pass(3)
	c.request(1, getFrame(1, wire.Lease, "k"))
	c.at(1).value(1) // at once, nothing delivered
	c.now += 81 * millisecond
	c.request(1, getFrame(2, wire.Lease, "k"))
	c.at(1).unanswered(2) // falls back to a quorum round
	c.settle()
	c.at(1).value(2)
}

func TestPendingWriteOfADeposedLeader(t *testing.T) {
	f := func(name string, reached bool, check func(old *member)) {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 3)
			c.elect(1)
			c.pass(3)
			c.cut[1] = !reached
			c.request(1, writeFrame(1, put("k", "v")))
			if reached { // one follower has it, but the leader never hears so
				c.deliver()
				c.finish(c.at(2))
				c.mail = nil
			}
			c.cut[1] = true
			c.finish(c.at(1))
			c.elect(2)
			c.cut[1] = false
			c.pass(5)
			check(c.at(1))
		})
	}
	f("committed by the next leader", true, func(old *member) { old.t.Helper(); old.result(1) })
	f("replaced by the next leader", false, func(old *member) { old.t.Helper(); old.refused(1, wire.CodeNotLeader) })
}

func TestPendingWriteBecomesUnknownInTime(t *testing.T) {
	c := newCluster(t, 3)
	c.elect(1)
	c.cut[1] = true
	c.request(1, writeFrame(1, put("k", "v")))
	c.finish(c.at(1))
	for range 60 {
		c.now += 10 * millisecond
		c.tick(c.at(1))
		c.finish(c.at(1))
	}
	c.at(1).refused(1, wire.CodeUnknown)
	if p := c.at(1).rep.Pending(); p.Writes+p.Reads != 0 {
		t.Fatalf("%d writes and %d reads are still pending", p.Writes, p.Reads)
	}
}

func TestFailedDiskFences(t *testing.T) {
	c := newCluster(t, 3)
	c.elect(1)
	c.request(1, writeFrame(1, put("k", "v")))
	c.settle()
	c.request(1, writeFrame(2, put("k", "w")))
	c.request(1, getFrame(3, wire.Linearizable, "k"))
	lead := c.at(1)
	c.event(lead, func() { lead.rep.Stored(replica.Completion{Seq: lead.stores[0].Seq, Err: errDisk}) })
	lead.refused(2, wire.CodeUnknown)
	lead.refused(3, wire.CodeFenced)
	c.mail = nil
	c.request(1, writeFrame(4, put("k", "x")))
	lead.refused(4, wire.CodeFenced)
	c.request(1, getFrame(5, wire.Stale, "k"))
	if v := lead.value(5); v != "v" {
		t.Fatalf("stale read %q", v)
	}
	if s := lead.rep.Status(); s.State != wire.StateFenced {
		t.Fatalf("state %v", s.State)
	}
	c.elect(2)
	if len(c.mail) != 0 || c.at(2).rep.Raft().Leader() != 2 {
		t.Fatal("the others do not go on alone")
	}
}

func TestTimeNeverGoesBack(t *testing.T) {
	c := newCluster(t, 3)
	for i := range 6 {
		id, before := wire.NodeID(1+i%2), wire.NodeID(2-i%2)
		c.cut[before] = i > 0
		c.elect(id)
		c.cut[before] = false
		c.pass(5)
		c.now += 500 * millisecond
		c.request(id, writeFrame(uint64(i+1), put("k", "v")))
		c.settle()
		c.at(id).result(uint64(i + 1))
	}
	log := c.at(3).log
	for i := 1; i < len(log); i++ {
		if entryTime(log[i]) < entryTime(log[i-1]) {
			t.Fatalf("entry %d has time %d, the one before %d", i+1, entryTime(log[i]), entryTime(log[i-1]))
		}
	}
	if spent := entryTime(log[len(log)-1]); spent < 6*500*millisecond/2 {
		t.Fatalf("only %d ns have passed in the log", spent)
	}
}

func TestFirstLeaderFoundsTheCluster(t *testing.T) {
	c := newCluster(t, 3)
	if !c.at(1).rep.Membership().Cluster.IsZero() {
		t.Fatal("founded before any leader")
	}
	c.elect(2)
	c.pass(5)
	for _, m := range c.members {
		if got := m.rep.Membership().Cluster; got != (wire.ClusterID{7}) {
			t.Fatalf("member %d: cluster %v", m.id, got)
		}
	}
}
