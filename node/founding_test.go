package node

import (
	"strings"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/wire"
)

func rid(b byte) wire.ReplicaID { return wire.ReplicaID{15: b} }

// founders is the view of n1 in a list of three.
func founders() (*self, []string) {
	list := map[string]string{"n1": "h1:1", "n2": "h2:1", "n3": "h3:1"}
	names := []string{"n1", "n2", "n3"}
	return &self{
		name: "n1", replica: rid(1), clientAddr: "h1:2", peerAddr: "h1:1", list: list,
		bootstrap: bootstrapHash(names, func(n string) string { return list[n] }),
	}, names
}

func founded(s *self, names []string, cluster byte) *self {
	f := founder{heard: map[string]wire.HelloAck{
		"n2": {Name: "n2", Replica: rid(2)}, "n3": {Name: "n3", Replica: rid(3)},
	}}
	m := f.bootstrap(s, names)
	out := *s
	out.members = &m
	out.cluster[0], m.Cluster[0] = cluster, cluster
	return &out
}

func TestWhoMayCall(t *testing.T) {
	fresh, names := founders()
	started := founded(fresh, names, 0)  // bootstrapped, nothing committed yet
	member := founded(fresh, names, 0xc) // founded
	other := wire.ClusterID{0: 0xd}
	ours := member.cluster
	f := func(what string, s *self, h wire.Hello, id wire.NodeID, code wire.Code, text string) {
		t.Helper()
		h.Version, h.MinVersion, h.Side = wire.Version, wire.MinVersion, wire.PeerSide
		got, err := s.greet(wire.PeerSide, &h)
		switch {
		case code == 0 && (err != nil || got != id):
			t.Errorf("%s: member %d, %v, want member %d", what, got, err, id)
		case code != 0 && (err == nil || err.Code != code || !strings.Contains(err.Text, text)):
			t.Errorf("%s: member %d, %v, want %v with %q", what, got, err, code, text)
		}
	}
	b := fresh.bootstrap
	f("fresh meets fresh", fresh, wire.Hello{Name: "n2", Replica: rid(2), Bootstrap: b}, 0, 0, "")
	f("fresh meets a stranger", fresh, wire.Hello{Name: "n4", Replica: rid(4), Bootstrap: b}, 0, wire.CodeWrongCluster, "not in the list")
	f("lists differ", fresh, wire.Hello{Name: "n2", Replica: rid(2), Bootstrap: b + 1}, 0, wire.CodeWrongCluster, "different lists")
	f("fresh is called by a founded one", fresh, wire.Hello{Name: "n2", Replica: rid(2), Cluster: ours}, 0, wire.CodeUnavailable, "not joined")
	f("started meets its fellow founder", started, wire.Hello{Name: "n2", Replica: rid(2), Bootstrap: b}, 2, 0, "")
	f("started meets a wiped founder", started, wire.Hello{Name: "n2", Replica: rid(9), Bootstrap: b}, 0, wire.CodeNotFresh, "data folder was lost")
	f("started is called by one that knows more", started, wire.Hello{Name: "n2", Replica: rid(2), Cluster: ours}, 2, 0, "")
	f("founded meets a founder that missed it", member, wire.Hello{Name: "n3", Replica: rid(3), Bootstrap: b}, 3, 0, "")
	f("founded meets one with another list", member, wire.Hello{Name: "n3", Replica: rid(3), Bootstrap: b + 1}, 0, wire.CodeWrongCluster, "another list")
	f("founded meets a wiped member", member, wire.Hello{Name: "n3", Replica: rid(9), Bootstrap: b}, 0, wire.CodeNotFresh, rid(3).String())
	f("founded meets a fresh stranger", member, wire.Hello{Name: "n4", Replica: rid(4), Bootstrap: b}, 0, wire.CodeNotFresh, ours.String())
	f("members", member, wire.Hello{Name: "n3", Replica: rid(3), Cluster: ours}, 3, 0, "")
	f("member with another folder", member, wire.Hello{Name: "n3", Replica: rid(9), Cluster: ours}, 0, wire.CodeWrongIdentity, rid(9).String())
	f("no member", member, wire.Hello{Name: "n4", Replica: rid(4), Cluster: ours}, 0, wire.CodeWrongIdentity, "n1 n2 n3")
	f("other cluster", member, wire.Hello{Name: "n3", Replica: rid(3), Cluster: other}, 0, wire.CodeWrongCluster, other.String())
	f("itself", member, wire.Hello{Name: "n1", Replica: rid(1), Cluster: ours}, 0, wire.CodeWrongIdentity, "same name")
	leaving := *member
	leaving.leaving = true
	f("shutting down", &leaving, wire.Hello{Name: "n3", Replica: rid(3), Cluster: ours}, 0, wire.CodeShutdown, "n1")
}

func TestWhoMayAnswer(t *testing.T) {
	fresh, names := founders()
	member := founded(fresh, names, 0xc)
	ours := member.cluster
	f := func(what string, s *self, a wire.HelloAck, code wire.Code) {
		t.Helper()
		err := s.checkAck("n2", &a)
		if code == 0 && err != nil || code != 0 && !isCode(err, code) {
			t.Errorf("%s: %v, want code %v", what, err, code)
		}
	}
	f("fresh", fresh, wire.HelloAck{Name: "n2", Replica: rid(2)}, 0)
	f("founded, and we belong to it", fresh, wire.HelloAck{Name: "n2", Replica: rid(2), Cluster: ours, Member: true}, 0)
	f("founded without us", fresh, wire.HelloAck{Name: "n2", Replica: rid(2), Cluster: ours}, wire.CodeNotFresh)
	f("another name", fresh, wire.HelloAck{Name: "n3", Replica: rid(3)}, wire.CodeWrongIdentity)
	f("member", member, wire.HelloAck{Name: "n2", Replica: rid(2), Cluster: ours}, 0)
	f("member that has not joined yet", member, wire.HelloAck{Name: "n2", Replica: rid(2)}, 0)
	f("another folder", member, wire.HelloAck{Name: "n2", Replica: rid(9), Cluster: ours}, wire.CodeWrongIdentity)
	f("another cluster", member, wire.HelloAck{Name: "n2", Replica: rid(2), Cluster: wire.ClusterID{1}}, wire.CodeWrongCluster)
}

// Every founder derives the same configuration, whatever the order in which it
// heard the others.
func TestFoundersAgree(t *testing.T) {
	s1, names := founders()
	s2 := *s1
	s2.name, s2.replica, s2.peerAddr, s2.clientAddr = "n2", rid(2), "h2:1", "h2:2"
	f1 := founder{heard: map[string]wire.HelloAck{"n3": {Replica: rid(3), ClientAddr: "h3:2"}, "n2": {Replica: rid(2), ClientAddr: "h2:2"}}}
	f2 := founder{heard: map[string]wire.HelloAck{"n1": {Replica: rid(1), ClientAddr: "h1:2"}, "n3": {Replica: rid(3), ClientAddr: "h3:2"}}}
	m1, m2 := f1.bootstrap(s1, names), f2.bootstrap(&s2, names)
	if a, b := wire.AppendMembership(nil, &m1), wire.AppendMembership(nil, &m2); string(a) != string(b) {
		t.Errorf("n1 starts from %+v, n2 from %+v", m1, m2)
	}
	if membersHash(&m1) != s1.bootstrap {
		t.Error("the hash of the configuration is not that of the list it was made from")
	}
	if missing := (&founder{}).missing(s1, names); strings.Join(missing, ",") != "n2,n3" {
		t.Errorf("missing %v", missing)
	}
}

// However long a process was stopped, it is fed fewer ticks than the least
// election timeout, and time that was skipped does not come back.
func TestTicksAfterAPause(t *testing.T) {
	var cfg Config
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	f := func(gap time.Duration, wantDue, wantFeed int64) {
		t.Helper()
		if due, feed := ticksDue(&cfg, 1e9, 1e9+int64(gap)); due != wantDue || feed != wantFeed {
			t.Errorf("after %v: %d due, %d fed, want %d and %d", gap, due, feed, wantDue, wantFeed)
		}
	}
	f(-time.Second, 0, 0)
	f(9*time.Millisecond, 0, 0)
	f(10*time.Millisecond, 1, 1)
	f(59*time.Millisecond, 5, 5)
	f(time.Hour, 360_000, 25)
}

// A reply to a connection that is gone must not reach the one that got its
// slot.
func TestSlotsAreNotMistaken(t *testing.T) {
	var table conns
	a, b := &conn{}, &conn{}
	table.add(a)
	table.add(b)
	old := a.id
	table.remove(a)
	c := &conn{}
	table.add(c)
	if table.get(old) != nil || table.get(c.id) != c || table.get(b.id) != b || c.id>>32 != old>>32 {
		t.Errorf("after reuse of slot %d: old id %x finds %v", old>>32, old, table.get(old))
	}
	if table.get(99<<32|1) != nil || table.open != 2 {
		t.Errorf("%d open", table.open)
	}
}
