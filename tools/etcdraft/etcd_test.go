package etcdraft

import (
	"io"
	"log"
	"math"

	etcd "go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// etcdCluster is a cluster of etcd's cores.
type etcdCluster struct {
	links[*raftpb.Message]
	nodes []*etcdMember
}

type etcdMember struct {
	id   int
	core *etcd.RawNode // nil while it is down
	disk store
}

// store is a memory disk that knows the voters from the beginning.
type store struct {
	*etcd.MemoryStorage
	voters *raftpb.ConfState
}

func (s store) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	hard, _, err := s.MemoryStorage.InitialState()
	return hard, s.voters, err
}

func newEtcd(size int) *etcdCluster {
	c := &etcdCluster{links: newLinks[*raftpb.Message](size)}
	voters := &raftpb.ConfState{}
	for i := range size {
		voters.Voters = append(voters.Voters, uint64(i+1))
	}
	for i := range size {
		m := &etcdMember{id: i, disk: store{etcd.NewMemoryStorage(), voters}}
		m.start()
		c.nodes = append(c.nodes, m)
	}
	return c
}

func (m *etcdMember) start() {
	m.core = must(etcd.NewRawNode(&etcd.Config{
		ID: uint64(m.id + 1), ElectionTick: 10, HeartbeatTick: 1, Storage: m.disk, PreVote: true,
		MaxSizePerMsg: math.MaxUint64, MaxInflightMsgs: 256, Logger: &etcd.DefaultLogger{Logger: log.New(io.Discard, "", 0)},
	}))
}

func (c *etcdCluster) campaign(i int, _ []int) { check(c.nodes[i].core.Campaign()) }

func (c *etcdCluster) propose(i int, data string) bool {
	return c.nodes[i].core.BasicStatus().RaftState == etcd.StateLeader && c.nodes[i].core.Propose([]byte(data)) == nil
}

func (c *etcdCluster) crash(i int) { c.nodes[i].core = nil }

func (c *etcdCluster) restart(i int) { c.nodes[i].start() }

func (c *etcdCluster) beat(i int) {
	if n := c.nodes[i]; n.core != nil && n.core.BasicStatus().RaftState == etcd.StateLeader {
		n.core.Tick()
	}
}

func (c *etcdCluster) deliver(from, to, k int, keep bool) error {
	m := c.take(from, to, k, keep)
	if n := c.nodes[to]; n.core != nil {
		return n.core.Step(m)
	}
	return nil
}

// sync stores what is to be stored, and then sends what may be sent.
func (c *etcdCluster) sync(i int) bool {
	n := c.nodes[i]
	if n.core == nil || !n.core.HasReady() {
		return false
	}
	rd := n.core.Ready()
	if !etcd.IsEmptyHardState(rd.HardState) {
		check(n.disk.SetHardState(rd.HardState))
	}
	check(n.disk.Append(rd.Entries))
	for _, m := range rd.Messages {
		q := c.link(i, int(m.GetTo())-1)
		*q = append(*q, m)
	}
	n.core.Advance(rd)
	return true
}

func (c *etcdCluster) view(i int) view {
	n := c.nodes[i]
	if n.core == nil {
		return view{}
	}
	st := n.core.BasicStatus()
	v := view{up: true, leads: st.RaftState == etcd.StateLeader, term: st.HardState.GetTerm(), commit: st.HardState.GetCommit()}
	last := must(n.disk.LastIndex())
	if last == 0 {
		return v
	}
	for _, e := range must(n.disk.Entries(1, last+1, math.MaxUint64)) {
		v.log = append(v.log, entry{e.GetTerm(), string(e.Data)})
	}
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func must[T any](v T, err error) T {
	check(err)
	return v
}
