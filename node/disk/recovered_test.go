package disk_test

import (
	"testing"

	"github.com/dnode-engine/dnode/node/disk"
	"github.com/dnode-engine/dnode/node/raft"
	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wire"
)

// TestFoundingEntryCanBeTakenBack restarts a member that wrote the first
// configuration and lost it to another leader, who has only begun.
func TestFoundingEntryCanBeTakenBack(t *testing.T) {
	members := wire.Membership{NextID: 4, Cluster: wire.ClusterID{1}}
	for id := wire.NodeID(1); id <= 3; id++ {
		members.Members = append(members.Members, wire.Member{ID: id, Name: string(rune('a' + id)), Role: wire.Voter})
	}
	found := &wal.Recovered{
		First: 1, Last: 2, Runs: []wire.TermRun{{First: 1, Term: 1}},
		Configs: []wal.ConfigEntry{{Index: 2, Term: 1, Payload: wire.AppendMembership(wire.AppendTime(nil, 1), &members)}},
	}
	st, err := disk.Recovered(found, wal.VoteState{Vote: wire.Vote{Term: 1, For: 3}}, wire.Membership{})
	if err != nil {
		t.Fatal(err)
	}
	core, err := raft.New(raft.Config{ID: 3, ElectionTicks: 10, HeartbeatTicks: 2, MaxAppendBytes: 1, MaxInflightBytes: 1, MaxUncommittedBytes: 1, TailBytes: 1}, st)
	if err != nil {
		t.Fatal(err)
	}
	if m, at := core.Membership(); at != 2 || m.Cluster != members.Cluster {
		t.Fatalf("recovered cluster %v from entry %d", m.Cluster, at)
	}
	noop := wire.AppendEntry(nil, wire.EntryHead{Type: wire.EntryNoop, Index: 1, Term: 2}, wire.AppendTime(nil, 1), nil)
	if err := core.Step(&wire.PeerMessage{Type: wire.FrameAppend, From: 1, Term: 2, Entries: noop}); err != nil {
		t.Fatal(err)
	}
	if m, at := core.Membership(); at != 0 || !m.Cluster.IsZero() || len(m.Members) != 3 {
		t.Fatalf("cluster %v of %d members is in force from entry %d, which is no longer in the log", m.Cluster, len(m.Members), at)
	}
}

// Each configuration that the newest one may have to give way to is there, under
// its own index, and so is the one before the log.
func TestEveryConfigurationIsKept(t *testing.T) {
	var configs []wal.ConfigEntry
	for i := wire.Index(1); i <= 4; i++ {
		m := wire.Membership{
			NextID: wire.NodeID(i) + 1, Cluster: wire.ClusterID{1},
			Members: []wire.Member{{ID: 1, Name: "a", Role: wire.Voter}},
		}
		configs = append(configs, wal.ConfigEntry{Index: i * 10, Term: 1, Payload: wire.AppendMembership(wire.AppendTime(nil, 1), &m)})
	}
	st, err := disk.Recovered(&wal.Recovered{First: 1, Last: 50, Configs: configs}, wal.VoteState{}, wire.Membership{})
	if err != nil {
		t.Fatal(err)
	}
	all := append(st.Older, raft.ConfigAt{Index: st.MembersIndex, Members: st.Members})
	if len(all) != 5 {
		t.Fatalf("%d configurations, want 5", len(all))
	}
	for i, c := range all {
		if c.Index != wire.Index(i*10) || c.Members.NextID != wire.NodeID(max(i, 1)+1) || c.Members.Cluster.IsZero() != (i == 0) {
			t.Errorf("configuration %d: %+v", i, c)
		}
	}
}
