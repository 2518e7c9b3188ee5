package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/etcdserver/api/rafthttp"
	stats "go.etcd.io/etcd/server/v3/etcdserver/api/v2stats"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"

	"github.com/dnode-engine/dnode/bench/embedded"
)

// What etcd sets.
const (
	tickInterval    = 100 * time.Millisecond
	heartbeatTicks  = 1
	electionTicks   = 10
	maxMessageBytes = 1 << 20
	maxInflight     = 512
	dialTimeout     = 2 * time.Second
)

const (
	compactEvery = 10_000 // entries
	kept         = 50_000 // of them in memory, after that
)

// member is one node: the library, its log and its transport.
type member struct {
	node   raft.Node
	log    *wal.WAL
	tail   *raft.MemoryStorage
	net    *rafthttp.Transport
	server *http.Server
	leads  atomic.Bool

	ctx       context.Context // of proposals
	committed chan []raftpb.Entry
	waiting   waiting

	end      chan struct{}
	running  sync.WaitGroup
	compacts uint64 // up to where tail was compacted
}

// open starts the i-th node; what a failure leaves open ends with the process.
func open(ctx context.Context, dir string, i int, urls []types.URLs) (m *member, err error) {
	m = &member{tail: raft.NewMemoryStorage(), ctx: ctx, committed: make(chan []raftpb.Entry, 1), end: make(chan struct{})}
	if m.log, err = wal.Create(zap.NewNop(), filepath.Join(dir, "wal"), nil); err != nil {
		return nil, err
	}
	id := func(i int) uint64 { return uint64(i + 1) }
	var peers []raft.Peer
	for j := range urls {
		peers = append(peers, raft.Peer{ID: id(j)})
	}
	m.node = raft.StartNode(&raft.Config{
		ID: id(i), ElectionTick: electionTicks, HeartbeatTick: heartbeatTicks, Storage: m.tail, MaxSizePerMsg: maxMessageBytes,
		MaxInflightMsgs: maxInflight, CheckQuorum: true, PreVote: true, Logger: quiet{},
	}, peers)
	name := types.ID(id(i)).String()
	m.net = &rafthttp.Transport{
		Logger: zap.NewNop(), DialTimeout: dialTimeout, ID: types.ID(id(i)), URLs: urls[i], ClusterID: 1, Raft: receiver{m.node},
		ServerStats: stats.NewServerStats(name, name), LeaderStats: stats.NewLeaderStats(nil, name), ErrorC: make(chan error, 1),
	}
	if err := m.net.Start(); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", urls[i][0].Host)
	if err != nil {
		return nil, err
	}
	m.server = &http.Server{Handler: m.net.Handler(), ReadHeaderTimeout: dialTimeout}
	m.running.Go(func() { _ = m.server.Serve(listener) })
	for j := range urls {
		if j != i {
			m.net.AddPeer(types.ID(id(j)), urls[j].StringSlice())
		}
	}
	m.running.Go(m.run)
	m.running.Go(m.apply)
	return m, nil
}

func (m *member) stop() {
	close(m.end)
	m.node.Stop()
	m.net.Stop()
	_ = m.server.Close()
	m.running.Wait()
	_ = m.log.Close()
}

// run is what etcd does with the library's output: a leader sends before it
// syncs its own log, a follower after it, and what is committed is handed on to
// be applied beside all this.
func (m *member) run() {
	defer close(m.committed)
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	for {
		select {
		case <-m.end:
			return
		case <-ticker.C:
			m.node.Tick()
		case rd := <-m.node.Ready():
			if rd.SoftState != nil {
				m.leads.Store(rd.RaftState == raft.StateLeader)
			}
			m.configure(rd.CommittedEntries)
			select {
			case m.committed <- rd.CommittedEntries:
			case <-m.end:
				return
			}
			if err := m.carryOut(&rd); err != nil {
				embedded.Fatal(err)
			}
			m.node.Advance()
		}
	}
}

func (m *member) carryOut(rd *raft.Ready) error {
	leads := m.leads.Load()
	if leads {
		m.net.Send(rd.Messages)
	}
	if !raft.IsEmptySnap(rd.Snapshot) {
		return fmt.Errorf("a node has fallen more than %d entries behind", kept)
	}
	if err := m.log.Save(rd.HardState, rd.Entries); err != nil {
		return fmt.Errorf("cannot save entries: %w", err)
	}
	if err := m.tail.Append(rd.Entries); err != nil {
		return fmt.Errorf("cannot keep entries: %w", err)
	}
	if !leads {
		m.net.Send(lastAnswer(rd.Messages))
	}
	return m.compact(rd.CommittedEntries)
}

// lastAnswer leaves out all acknowledgements but the last, which says as much.
func lastAnswer(ms []raftpb.Message) []raftpb.Message {
	seen := false
	for i := len(ms) - 1; i >= 0; i-- {
		if ms[i].Type == raftpb.MsgAppResp {
			if seen {
				ms[i].To = raft.None
			}
			seen = true
		}
	}
	return ms
}

// compact drops entries from memory that were committed long ago.
func (m *member) compact(committed []raftpb.Entry) error {
	if len(committed) == 0 {
		return nil
	}
	last := committed[len(committed)-1].Index
	if last < m.compacts+compactEvery+kept {
		return nil
	}
	m.compacts = last - kept
	if err := m.tail.Compact(m.compacts); err != nil {
		return fmt.Errorf("cannot drop old entries: %w", err)
	}
	return nil
}

// configure applies the entries that the cluster is founded with.
func (m *member) configure(entries []raftpb.Entry) {
	for i := range entries {
		if entries[i].Type != raftpb.EntryConfChange {
			continue
		}
		var c raftpb.ConfChange
		if err := c.Unmarshal(entries[i].Data); err != nil {
			embedded.Fatal(fmt.Errorf("cannot read a change of the configuration: %w", err))
		}
		m.node.ApplyConfChange(c)
	}
}

// receiver takes in what comes from other nodes.
type receiver struct{ node raft.Node }

// Process implements rafthttp.Raft.
func (r receiver) Process(ctx context.Context, m raftpb.Message) error { return r.node.Step(ctx, m) }

// IsIDRemoved implements rafthttp.Raft.
func (r receiver) IsIDRemoved(uint64) bool { return false }

// ReportUnreachable implements rafthttp.Raft.
func (r receiver) ReportUnreachable(id uint64) { r.node.ReportUnreachable(id) }

// ReportSnapshot implements rafthttp.Raft.
func (r receiver) ReportSnapshot(id uint64, status raft.SnapshotStatus) {
	r.node.ReportSnapshot(id, status)
}
