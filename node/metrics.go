package node

import (
	"bufio"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/VictoriaMetrics/metrics"

	"github.com/dnode-engine/dnode/node/raft"
	"github.com/dnode-engine/dnode/node/replica"
	"github.com/dnode-engine/dnode/wire"
)

const (
	maxCodes         = 32 // error codes told apart; the last also counts all above
	histogramBuckets = 20
)

// histogram counts values in buckets whose bounds double. The unit and the
// first bound are those of its writer.
//
// Invariant: counts[i] holds values ≤ first<<i; the last one all above.
type histogram struct {
	counts [histogramBuckets + 1]uint64
	sum    uint64
	first  int64
}

func (h *histogram) observe(v int64) {
	i := 0
	for bound := h.first; i < histogramBuckets && v > bound; bound <<= 1 {
		i++
	}
	h.counts[i]++
	h.sum += uint64(max(v, 0))
}

// counters are totals since the start. The loop owns them and copies them out.
type counters struct {
	accepted          uint64 // connections
	dropped           uint64 // connections closed without a word: there was no room for one
	linksCut          uint64 // links to members that took nothing
	acceptFailed      uint64
	bytesIn, bytesOut uint64 // clients and incoming peers
	peerDropped       uint64 // bytes for links that were down
	repliesLost       uint64
	leaderChanges     uint64
	answered          [replica.Kinds][maxCodes]uint64 // code 0: ok
	closed            [maxCodes]uint64                // connections told to go, by code
	turns             uint64                          // of Run
	yielded           uint64                          // times that a connection had to wait for others
}

// snapshot is what a scrape sees: a copy made by the loop, about ten times a
// second.
type snapshot struct {
	counters
	status   wire.NodeStatus
	raft     raft.Status
	peers    []peerView
	conns    int
	held     int // bytes held for connections
	heldMost int // the highest that was
	inFlight int
	pending  replica.Pending
	ticks    uint64
	founding string // what founding waits for, empty once founded
	draining bool
	fenced   string // why, empty if not
}

// peerView is one member as this node sees it.
type peerView struct {
	name     string
	link     bool
	queued   int
	ups      uint64            // times that the link came up
	sent     uint64            // bytes
	progress raft.PeerProgress // zero unless leading
}

// published is the snapshot behind its lock.
type published struct {
	mu   sync.Mutex
	snap snapshot
}

func (p *published) get() snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.snap
	s.peers = append([]peerView(nil), s.peers...)
	return s
}

// publish copies out what outsiders may see.
func (l *loop) publish() {
	p := &l.n.published
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.snap
	s.counters = l.counters
	s.dropped += l.n.client.shut.Load()
	s.acceptFailed = l.n.client.failed.Load() + l.n.peer.failed.Load()
	s.held, s.heldMost = l.conns.held, l.conns.most
	s.conns, s.inFlight, s.ticks, s.draining = l.conns.open, l.pending, l.ticks, l.draining
	s.peers = s.peers[:0]
	for _, k := range l.links {
		v := peerView{name: k.name, link: k.conn != nil, ups: k.ups, sent: k.sent}
		v.progress.ID = k.id
		if k.conn != nil {
			v.queued = k.conn.OutboundBuffered()
		}
		s.peers = append(s.peers, v)
	}
	if l.rep == nil {
		s.status = wire.NodeStatus{Name: l.cfg.Name, Role: wire.RoleFollower, State: wire.StateOK}
		s.founding = l.foundingText()
		return
	}
	s.founding = ""
	s.status = l.rep.Status()
	s.raft = l.rep.Raft().Status()
	s.pending = l.rep.Pending()
	if err := l.rep.Fenced(); err != nil {
		s.fenced = err.Error()
	}
	if s.status.Role != wire.RoleLeader {
		return
	}
	for pr := range l.rep.Raft().Progress {
		for i := range s.peers {
			if s.peers[i].progress.ID == pr.ID {
				s.peers[i].progress = pr
			}
		}
	}
}

// exposition writes the Prometheus text format. The first error sticks.
type exposition struct {
	w *bufio.Writer
}

func (e *exposition) head(name, kind, help string) {
	fmt.Fprintf(e.w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

func (e *exposition) value(name, labels string, v any) {
	if labels != "" {
		labels = "{" + labels + "}"
	}
	fmt.Fprintf(e.w, "%s%s %v\n", name, labels, v)
}

func (e *exposition) one(name, kind, help string, v any) {
	e.head(name, kind, help)
	e.value(name, "", v)
}

// histogram writes h; unit is what one of its counts is in the metric's unit.
func (e *exposition) histogram(name, help string, h *histogram, unit float64) {
	e.head(name, "histogram", help)
	total := uint64(0)
	for i := range histogramBuckets {
		total += h.counts[i]
		e.value(name+"_bucket", fmt.Sprintf("le=\"%g\"", float64(h.first<<i)*unit), total)
	}
	total += h.counts[histogramBuckets]
	e.value(name+"_bucket", `le="+Inf"`, total)
	e.value(name+"_sum", "", float64(h.sum)*unit)
	e.value(name+"_count", "", total)
}

// writeMetrics writes everything that this node measures, then what the process
// and the runtime do.
func (n *Node) writeMetrics(w io.Writer) error {
	s := n.published.get()
	e := &exposition{w: bufio.NewWriter(w)}
	e.identity(n, &s)
	e.raft(&s)
	e.members(&s)
	e.requests(&s)
	e.connections(&s)
	e.storage(n, &s)
	if err := e.w.Flush(); err != nil {
		return fmt.Errorf("cannot write metrics: %w", err)
	}
	metrics.WriteProcessMetrics(w)
	return nil
}

func (e *exposition) identity(n *Node, s *snapshot) {
	version, goVersion := buildVersion()
	e.head("dnode_build_info", "gauge", "The build that runs; always 1.")
	e.value("dnode_build_info", fmt.Sprintf("version=%q,go=%q", version, goVersion), 1)
	e.head("dnode_node_info", "gauge", "Who this node is; always 1.")
	e.value("dnode_node_info", fmt.Sprintf("name=%q,id=\"%d\",cluster=%q,replica=%q", n.cfg.Name, s.status.ID, s.status.Cluster.String(), n.self.Load().replica.String()), 1)
	e.one("dnode_start_time_seconds", "gauge", "Unix time at which this node was started.", n.started.Unix())
	e.one("dnode_loop_turns_total", "counter", "Batches of events that the loop has finished.", s.turns)
	e.one("dnode_loop_ticks_total", "counter", "Ticks of the event loop's timer.", s.ticks)
}

func buildVersion() (version, goVersion string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown", "unknown"
	}
	return info.Main.Version, info.GoVersion
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (e *exposition) raft(s *snapshot) {
	st := &s.status
	e.head("dnode_raft_role", "gauge", "What this node does in its term: 1 for the role it has.")
	for _, r := range []wire.RaftRole{wire.RoleFollower, wire.RoleCandidate, wire.RoleLeader, wire.RoleLearner} {
		e.value("dnode_raft_role", fmt.Sprintf("role=%q", r), flag(st.Role == r))
	}
	e.head("dnode_node_state", "gauge", "Whether this node takes full part: 1 for the state it has.")
	for _, v := range []wire.NodeState{wire.StateOK, wire.StateFenced, wire.StateNoSpace, wire.StateAbstaining} {
		e.value("dnode_node_state", fmt.Sprintf("state=%q", v), flag(st.State == v))
	}
	e.one("dnode_raft_term", "gauge", "Current term.", uint64(st.Term))
	e.one("dnode_raft_is_leader", "gauge", "1 if this node leads.", flag(st.Role == wire.RoleLeader))
	e.one("dnode_raft_has_leader", "gauge", "1 if this node knows a leader of its term.", flag(st.Leader != 0))
	e.one("dnode_raft_leader_changes_total", "counter", "Times that the leader known here changed.", s.leaderChanges)
	e.one("dnode_raft_commit_index", "gauge", "Last entry known to be committed.", uint64(st.Commit))
	e.one("dnode_raft_applied_index", "gauge", "Last entry applied to the state machine.", uint64(st.Applied))
	e.one("dnode_raft_last_index", "gauge", "Last entry of the log.", uint64(st.Last))
	e.one("dnode_raft_durable_index", "gauge", "Last entry on this node's disk.", uint64(s.raft.Durable))
	e.one("dnode_raft_uncommitted_bytes", "gauge", "Bytes of entries that are not committed yet.", s.raft.Uncommitted)
	e.one("dnode_raft_tail_bytes", "gauge", "Memory that holds the end of the log.", s.raft.MemBytes)
	e.one("dnode_raft_disk_stalled", "gauge", "1 if the oldest unsynced entries are older than an election timeout.", flag(s.raft.DiskStalled))
}

func (e *exposition) members(s *snapshot) {
	each := func(name, kind, help string, v func(p *peerView) any) {
		e.head(name, kind, help)
		for i := range s.peers {
			e.value(name, fmt.Sprintf("peer=%q", s.peers[i].name), v(&s.peers[i]))
		}
	}
	each("dnode_peer_link_up", "gauge", "1 if the outgoing link to the member is up.", func(p *peerView) any { return flag(p.link) })
	each("dnode_peer_queue_bytes", "gauge", "Bytes to the member that the kernel has not taken yet.", func(p *peerView) any { return p.queued })
	each("dnode_peer_links_total", "counter", "Times that the outgoing link to the member came up.", func(p *peerView) any { return p.ups })
	each("dnode_peer_bytes_out_total", "counter", "Bytes sent to the member.", func(p *peerView) any { return p.sent })
	if s.status.Role != wire.RoleLeader {
		return
	}
	each("dnode_raft_peer_match_index", "gauge", "Last entry that the member has made durable, as the leader knows.", func(p *peerView) any { return uint64(p.progress.Match) })
	each("dnode_raft_peer_lag_entries", "gauge", "Entries of the log that the member has not made durable.", func(p *peerView) any { return uint64(s.status.Last - min(s.status.Last, p.progress.Match)) })
	each("dnode_raft_peer_inflight_bytes", "gauge", "Bytes of entries sent to the member and not acknowledged.", func(p *peerView) any { return p.progress.InflightBytes })
	each("dnode_raft_peer_active", "gauge", "1 if the member was heard from lately.", func(p *peerView) any { return flag(p.progress.Active) })
	e.head("dnode_raft_peer_state", "gauge", "How the leader replicates to the member: 1 for the state it is in.")
	for i := range s.peers {
		for _, st := range []raft.PeerState{raft.Probe, raft.Replicate, raft.Snapshot} {
			e.value("dnode_raft_peer_state", fmt.Sprintf("peer=%q,state=%q", s.peers[i].name, st), flag(s.peers[i].progress.State == st))
		}
	}
}

func (e *exposition) requests(s *snapshot) {
	e.head("dnode_requests_total", "counter", "Requests answered, by kind and by result: ok, or the error's code. busy: a limit was reached; unknown says that a write may have been carried out.")
	for k := range replica.Kinds {
		for code := range maxCodes {
			if v := s.answered[k][code]; v > 0 || code == 0 || answers(wire.Code(code)) {
				e.value("dnode_requests_total", fmt.Sprintf("kind=%q,result=%q", replica.Kind(k), resultName(code)), v)
			}
		}
	}
	e.one("dnode_requests_in_flight", "gauge", "Requests taken and not answered.", s.inFlight)
	e.one("dnode_writes_waiting", "gauge", "Writes that wait for a majority of disks.", s.pending.Writes)
	e.one("dnode_reads_waiting", "gauge", "Reads that wait for a quorum round.", s.pending.Reads)
	e.one("dnode_replies_lost_total", "counter", "Replies whose connection was gone.", s.repliesLost)
}

// answers reports whether a code is known and may be the answer to a request.
func answers(code wire.Code) bool {
	return code.NotCarriedOut() || code == wire.CodeUnknown || code == wire.CodeInternal
}

// closes reports whether a code may be the reason why a connection is closed.
func closes(code wire.Code) bool {
	switch code {
	case wire.CodeUnavailable, wire.CodeBusy, wire.CodeTooLarge, wire.CodeBadRequest, wire.CodeShutdown:
		return true
	default:
		return code.Closes()
	}
}

// resultName is the label for a code: its name, in the spelling of metrics.
func resultName(code int) string {
	if code == 0 {
		return "ok"
	}
	return strings.ReplaceAll(wire.Code(code).String(), " ", "_")
}

func (e *exposition) connections(s *snapshot) {
	e.one("dnode_connections", "gauge", "Connections that clients and members have opened.", s.conns)
	e.one("dnode_connections_accepted_total", "counter", "Connections accepted.", s.accepted)
	e.one("dnode_connections_dropped_total", "counter", "Connections closed without a word because there were too many at once.", s.dropped)
	e.one("dnode_accept_failures_total", "counter", "Times that no connection could be accepted, mostly for want of descriptors.", s.acceptFailed)
	e.one("dnode_connections_yielded_total", "counter", "Times that a connection with much in flight let others go first.", s.yielded)
	e.one("dnode_connection_bytes", "gauge", "Memory that holds unfinished requests and unread replies of all connections.", s.held)
	e.one("dnode_connection_bytes_max", "gauge", "The highest value of dnode_connection_bytes so far.", s.heldMost)
	e.head("dnode_connections_closed_total", "counter", "Connections closed by this node, by reason: over a limit, refused for what their hello said, or breaking the protocol.")
	for code := 1; code < maxCodes; code++ {
		if v := s.closed[code]; v > 0 || closes(wire.Code(code)) {
			e.value("dnode_connections_closed_total", fmt.Sprintf("reason=%q", resultName(code)), v)
		}
	}
	e.one("dnode_bytes_in_total", "counter", "Bytes received from clients and members.", s.bytesIn)
	e.one("dnode_bytes_out_total", "counter", "Bytes sent to clients.", s.bytesOut)
	e.one("dnode_peer_links_cut_total", "counter", "Links cut because the member did not take what was sent to it.", s.linksCut)
	e.one("dnode_peer_bytes_dropped_total", "counter", "Bytes for members whose link was down.", s.peerDropped)
}

func (e *exposition) storage(n *Node, s *snapshot) {
	batches, reads, st := n.disk.queued()
	e.histogram("dnode_wal_sync_seconds", "Time of one sync of the log.", &st.sync, 1e-9)
	e.histogram("dnode_wal_group_bytes", "Bytes of entries in one group, that is, under one sync.", &st.groupBytes, 1)
	e.one("dnode_wal_groups_total", "counter", "Groups written and synced.", st.groups)
	e.one("dnode_wal_batches_total", "counter", "Storage batches in those groups.", st.batches)
	e.one("dnode_wal_bytes_total", "counter", "Bytes of entries written to the log.", st.bytes)
	e.one("dnode_wal_votes_total", "counter", "Votes and terms made durable.", st.votes)
	e.one("dnode_wal_reads_total", "counter", "Reads of entries that were no longer in memory.", st.reads)
	e.one("dnode_wal_read_errors_total", "counter", "Those reads that failed.", st.readErrors)
	e.one("dnode_wal_fenced", "gauge", "1 if the disk failed: the node no longer writes, votes or acknowledges.", flag(s.fenced != ""))
	e.one("dnode_wal_cut_bytes", "gauge", "Bytes of the log's unattested end that this start has cut.", n.cutBytes)
	if f, ok := n.fs.(freeSpace); ok {
		if free, err := f.Free(); err == nil {
			e.one("dnode_disk_free_bytes", "gauge", "Free space of the data folder's file system.", free)
		}
	}
	e.one("dnode_wal_queue_batches", "gauge", "Storage batches that wait for the disk.", batches)
	e.one("dnode_wal_queue_reads", "gauge", "Log reads that wait for the disk.", reads)
}
