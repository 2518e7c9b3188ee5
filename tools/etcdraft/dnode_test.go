package etcdraft

import (
	"fmt"
	"slices"

	"github.com/dnode-engine/dnode/node/raft"
	"github.com/dnode-engine/dnode/wire"
)

// electionTicks is more than a leader's clock ticks in a run, so that it never
// checks its quorum, which etcd does not do here either.
const electionTicks = 2000

// dnode is a cluster of dnode's cores.
type dnode struct {
	links[wire.PeerMessage]
	nodes []*dnodeMember
}

type dnodeMember struct {
	id    int
	core  *raft.Raft // nil while it is down
	boot  wire.Membership
	fresh bool // heard a leader, or was restarted, since it was last late
	rd    raft.Ready

	vote wire.Vote // the disk
	log  [][]byte
	ops  []dnodeBatch
}

type dnodeBatch struct {
	seq     uint64
	vote    *wire.Vote
	entries [][]byte
}

func newDnode(size int) *dnode {
	c := &dnode{links: newLinks[wire.PeerMessage](size)}
	boot := wire.Membership{NextID: wire.NodeID(size + 1)}
	for i := range size {
		boot.Members = append(boot.Members, wire.Member{ID: wire.NodeID(i + 1), Name: fmt.Sprint("n", i+1), Role: wire.Voter})
	}
	for i := range size {
		m := &dnodeMember{id: i, boot: boot}
		m.start(true)
		c.nodes = append(c.nodes, m)
	}
	return c
}

func (m *dnodeMember) start(first bool) {
	st := raft.State{Vote: m.vote, Fresh: first, First: 1, Last: wire.Index(len(m.log)), Members: m.boot}
	for _, b := range m.log {
		e := must(wire.ParseEntry(b))
		if k := len(st.Runs); k == 0 || st.Runs[k-1].Term != e.Term {
			st.Runs = append(st.Runs, wire.TermRun{First: e.Index, Term: e.Term})
		}
	}
	m.core = must(raft.New(raft.Config{
		ID: wire.NodeID(m.id + 1), ElectionTicks: electionTicks, HeartbeatTicks: 1, Seed: 1,
		MaxAppendBytes: 1 << 20, MaxInflightBytes: 1 << 20, MaxUncommittedBytes: 1 << 20, TailBytes: 1 << 20,
	}, st))
	m.core.SetNow(0)
	m.core.SetReluctant(true)
	m.fresh = !first
}

// campaign lets so much time pass that nobody in the group is bound to a leader,
// and i stands for election. Without a majority nothing would come of it.
func (c *dnode) campaign(i int, group []int) {
	n := c.nodes[i]
	if n.core.Role() == raft.Leader {
		return
	}
	if len(group) > len(c.nodes)/2 {
		for _, k := range group {
			o := c.nodes[k]
			o.core.Resign()
			for range electionTicks {
				if o.fresh && k != i {
					o.core.Tick()
				}
			}
			o.fresh = false
		}
	}
	n.core.SetReluctant(false)
	for range 2 * electionTicks {
		n.core.Tick()
	}
	n.core.SetReluctant(true)
	n.fresh = false
	c.ready(n)
}

func (c *dnode) propose(i int, data string) bool {
	n := c.nodes[i]
	_, err := n.core.Propose(wire.EntryCommand, make([]byte, wire.StampBytes), []byte(data))
	c.ready(n)
	return err == nil
}

func (c *dnode) crash(i int) {
	n := c.nodes[i]
	n.core, n.ops, n.rd = nil, nil, raft.Ready{}
}

func (c *dnode) restart(i int) { c.nodes[i].start(false) }

func (c *dnode) beat(i int) {
	if n := c.nodes[i]; n.core != nil && n.core.Role() == raft.Leader {
		n.core.Tick()
		c.ready(n)
	}
}

func (c *dnode) deliver(from, to, k int, keep bool) error {
	m := c.take(from, to, k, keep)
	n := c.nodes[to]
	if n.core == nil {
		return nil
	}
	err := n.core.Step(&m)
	n.fresh = n.fresh || n.core.Role() == raft.Follower && n.core.Leader() == m.From
	c.ready(n)
	return err
}

// ready hands what is to be stored to the disk, and what may be sent to the network.
func (c *dnode) ready(n *dnodeMember) {
	for {
		n.core.Ready(&n.rd)
		if n.rd.Seq != 0 {
			b := dnodeBatch{seq: n.rd.Seq}
			if v := n.rd.Vote; n.rd.SaveVote {
				b.vote = &v
			}
			for _, run := range n.rd.Append {
				for len(run) > 0 {
					size := must(wire.ParseEntry(run)).Size
					b.entries = append(b.entries, slices.Clone(run[:size]))
					run = run[size:]
				}
			}
			n.ops = append(n.ops, b)
		}
		for _, m := range n.rd.Now {
			m.Entries = slices.Clone(m.Entries)
			q := c.link(n.id, int(m.To)-1)
			if l := len(*q); l > 0 && m.Type == wire.FramePreVote && (*q)[l-1].Type == m.Type {
				continue // the ticks of a campaign repeat it
			}
			*q = append(*q, m)
		}
		if len(n.rd.Reads) == 0 {
			return
		}
		for _, r := range n.rd.Reads {
			n.core.EntriesRead(r.Peer, r.Lo, slices.Concat(n.log[r.Lo-1:r.Hi-1]...), nil)
		}
	}
}

func (c *dnode) sync(i int) bool {
	n := c.nodes[i]
	if n.core == nil || len(n.ops) == 0 {
		return false
	}
	b := n.ops[0]
	n.ops = n.ops[1:]
	if b.vote != nil {
		n.vote = *b.vote
	}
	for _, e := range b.entries {
		n.log = append(n.log[:must(wire.ParseEntry(e)).Index-1], e)
	}
	n.core.Synced(b.seq)
	c.ready(n)
	return true
}

func (c *dnode) view(i int) view {
	n := c.nodes[i]
	if n.core == nil {
		return view{}
	}
	st := n.core.Status()
	v := view{up: true, leads: st.Role == raft.Leader, term: uint64(st.Term), commit: uint64(st.Commit)}
	for k := wire.Index(1); k <= st.Last; k++ {
		b := n.core.Entries(k, k+1, 0)
		if b == nil {
			b = n.log[k-1]
		}
		e := must(wire.ParseEntry(b))
		data := ""
		if e.Type == wire.EntryCommand {
			data = string(e.Payload[wire.StampBytes:])
		}
		v.log = append(v.log, entry{uint64(e.Term), data})
	}
	return v
}
