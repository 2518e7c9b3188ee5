package replica

import (
	"errors"
	"fmt"

	"github.com/dnode-engine/dnode/node/raft"
	"github.com/dnode-engine/dnode/wire"
)

const (
	maxApplyBytes = 1 << 20  // entries applied in one batch, unless Config.BatchBytes is set
	maxReads      = 1 << 16  // reads that wait for a round
	maxQueryBytes = 16 << 20 // queries waiting for a round, together
	busyRetryMs   = 20
	fullRetryMs   = 1000
	silentRetryMs = 100 // no leader is known: about the time an election takes
)

// Replica is one member. See the package documentation.
type Replica struct {
	cfg  Config
	raft *raft.Raft
	sm   StateMachine

	now    int64
	fenced error
	full   bool // the disk has little room left

	// applied is the last entry given to the state machine.
	// Invariant: applied ≤ the commit index.
	applied wire.Index
	// founded is set once a configuration entry with a cluster id was applied.
	founded bool
	changes uint64 // of the configuration, as far as the shell was told

	leaderTerm wire.Term // the term this member leads, else zero
	timeBase   uint64    // the log's time when leaderTerm began
	timeStart  int64     // the clock at that moment
	lostTicks  int       // ticks since leadership was lost, while writes are pending

	// writes are in index order; each was appended by this member.
	writes ring[write]
	// Invariant: owed is the sum of bytes over writes.
	owed    int
	reads   ring[read]
	queries byteQueue
	// assigned counts the reads at the front that are part of a round.
	assigned int
	// fetching is set while committed entries are being read back from disk.
	fetching bool
	// Invariant: fetched is what was read back of the entries from applied+1 on,
	// none of which is in memory.
	fetched []byte

	clients []clientAddr // where members take client requests, as they said

	// Scratch of one batch.
	stamp   [wire.StampBytes]byte
	result  []byte
	out     []byte // reply frames, back to back
	replies []pendingReply
	ready   raft.Ready
	peers   []peerBuffer
	fx      Effects
}

type clientAddr struct {
	id   wire.NodeID
	addr string
}

type peerBuffer struct {
	to  wire.NodeID
	buf []byte
}

// pendingReply is a Reply whose bytes may still move.
type pendingReply struct {
	conn    ConnID
	lo, hi  int
	request int
	kind    Kind
	code    wire.Code
}

// New returns a replica over what recovery found. The state machine is empty:
// every committed entry is applied to it again.
func New(cfg Config, sm StateMachine, st State) (*Replica, error) {
	core, err := raft.New(cfg.Raft, st)
	if err != nil {
		return nil, fmt.Errorf("cannot start raft: %w", err)
	}
	if cfg.BatchBytes == 0 {
		cfg.BatchBytes = maxApplyBytes
	}
	r := &Replica{cfg: cfg, raft: core, sm: sm}
	if cfg.ClientAddr != "" {
		r.clients = append(r.clients, clientAddr{cfg.Raft.ID, cfg.ClientAddr})
	}
	return r, nil
}

// Begin starts a batch of events at the given time, in nanoseconds of a clock
// that never goes back and counts suspend. The effects of the batch before are
// no longer valid.
func (r *Replica) Begin(now int64) {
	r.SetNow(now)
	r.out = r.out[:0]
	if cap(r.out) > 4*r.cfg.BatchBytes { // leadership was lost with all that was pending
		r.out, r.replies, r.fx.Replies = nil, nil, nil
	}
	r.replies = r.replies[:0]
	r.fx.Replies = r.fx.Replies[:0]
	r.fx.Peers = r.fx.Peers[:0]
	r.fx.Reads = r.fx.Reads[:0]
	r.fx.Store = Store{}
	r.fx.Membership, r.fx.Founded, r.fx.More = false, false, false
	for i := range r.peers {
		r.peers[i].buf = r.peers[i].buf[:0]
	}
}

// time is the time that new entries carry: the log's time when this member
// began to lead, plus what has passed since on its own clock. The core raises
// it to the log's time, which is what a member that is just elected uses.
func (r *Replica) time() uint64 {
	if r.leaderTerm == 0 {
		return 0
	}
	return r.timeBase + uint64(r.now-r.timeStart)
}

// Tick counts one tick of the shell's timer.
func (r *Replica) Tick() {
	if r.fenced != nil {
		return
	}
	r.raft.Tick()
	r.followLeadership()
	if r.leaderTerm != 0 || r.writes.len() == 0 {
		r.lostTicks = 0
		return
	}
	if r.lostTicks++; r.lostTicks > 2*r.cfg.Raft.ElectionTicks {
		r.abandonWrites(0, "the leader changed and the outcome did not become known in time")
	}
}

// Peer takes one frame from a member. An error means that the member sent
// nonsense: the link should be closed.
func (r *Replica) Peer(from wire.NodeID, f wire.Frame) error {
	if r.fenced != nil {
		return nil
	}
	m, err := wire.ParsePeer(f)
	if err != nil {
		return fmt.Errorf("cannot read message from member %d: %w", from, err)
	}
	if m.From != from {
		return fmt.Errorf("cannot take message: it says it is from member %d, the link belongs to %d", m.From, from)
	}
	m.To = r.cfg.Raft.ID
	err = r.raft.Step(&m)
	r.followLeadership()
	if err != nil {
		return fmt.Errorf("cannot take message from member %d: %w", from, err)
	}
	return nil
}

// PeerUp says that a link to a member is open and where that member takes
// client requests.
func (r *Replica) PeerUp(id wire.NodeID, clientAddress string) {
	r.raft.PeerUp(id)
	for i := range r.clients {
		if r.clients[i].id == id {
			r.clients[i].addr = clientAddress
			return
		}
	}
	r.clients = append(r.clients, clientAddr{id, clientAddress})
}

// PeerDown says that the link to a member is lost.
func (r *Replica) PeerDown(id wire.NodeID) { r.raft.PeerDown(id) }

// Stored says that storage batches are durable, or that the disk failed. A
// failed disk fences the replica for good: it neither votes nor acknowledges,
// and only stale reads and status are still answered.
func (r *Replica) Stored(c Completion) {
	if c.Err != nil {
		r.fence(c.Err)
		return
	}
	if r.fenced == nil {
		r.raft.Synced(c.Seq)
		r.followLeadership()
	}
}

// Space says whether the disk has little room left (full) or enough again. While
// it is full this member takes only commands that free, and leads only if no
// other can: a leader whose disk fills up steps down once, so that a member with
// room may follow it.
func (r *Replica) Space(full bool) {
	if full && !r.full {
		r.raft.Resign()
	}
	r.full = full
	r.raft.SetReluctant(full)
	r.followLeadership()
}

func (r *Replica) fence(err error) {
	if r.fenced != nil {
		return
	}
	r.fenced = err
	r.leaderTerm = 0
	r.abandonWrites(0, "the node's disk failed before the write was known to be durable")
	for r.reads.len() > 0 {
		w := r.popRead()
		r.refuse(w.request(), r.fencedError())
	}
}

func (r *Replica) fencedError() *wire.Error {
	return &wire.Error{Code: wire.CodeFenced, Text: "the disk of this node failed (" + r.fenced.Error() + "); use another node, check the disk and its file system, then restart this one"}
}

// EntriesRead answers one request of Effects.Reads.
func (r *Replica) EntriesRead(d ReadDone) {
	if r.fenced != nil {
		return
	}
	if d.Peer != 0 {
		r.raft.EntriesRead(d.Peer, d.Lo, d.Data, d.Err)
		return
	}
	r.fetching = false
	if d.Err == nil {
		d.Err = r.takeFetched(&d)
	}
	if d.Err != nil {
		r.fence(fmt.Errorf("cannot read committed entries from %d on: %w", d.Lo, d.Err))
	}
}

// Applied returns the last applied index.
func (r *Replica) Applied() wire.Index { return r.applied }

// Full reports whether the replies made so far are as many as one batch should
// hold: the caller takes the effects and begins the next before it goes on with
// requests. What the replica has to say by itself waits for the next batch.
func (r *Replica) Full() bool { return len(r.out) > r.cfg.BatchBytes }

// Leading reports whether this member leads.
func (r *Replica) Leading() bool { return r.leaderTerm != 0 }

// Fenced returns the disk's failure, or nil.
func (r *Replica) Fenced() error { return r.fenced }

// Raft gives read access to the core, for metrics, checkers and tests.
func (r *Replica) Raft() *raft.Raft { return r.raft }

// Membership returns the configuration in force. It must not be changed.
func (r *Replica) Membership() *wire.Membership {
	m, _ := r.raft.Membership()
	return m
}

// Pending is what waits for an answer.
type Pending struct {
	Writes, Reads int
	WriteBytes    int // of the writes' requests, at most MaxUncommittedBytes unless one alone is larger
	ReadBytes     int // of the reads' queries
}

// Pending returns how many writes and reads wait for an answer.
func (r *Replica) Pending() Pending {
	return Pending{Writes: r.writes.len(), Reads: r.reads.len(), WriteBytes: r.owed, ReadBytes: r.queries.len()}
}

// followLeadership notices that leadership was won or lost by an event. It runs
// after every event that can do so: a round or a time of one term must never be
// taken for another's.
func (r *Replica) followLeadership() {
	term := wire.Term(0)
	if r.raft.Role() == raft.Leader {
		term = r.raft.Term()
	}
	if term == r.leaderTerm {
		return
	}
	r.leaderTerm = 0
	r.dropReads()
	if term != 0 {
		r.abandonWrites(r.raft.Status().Last+1, "the entry was removed from the log of this node")
		r.timeBase, r.timeStart = r.raft.LastTime(), r.now
		r.leaderTerm = term
		r.raft.SetStamp(r.time())
		r.found()
	}
}

// found writes the first configuration entry, if the log has none yet.
func (r *Replica) found() {
	boot, at := r.raft.Membership()
	if at != 0 {
		return
	}
	m := *boot
	m.Cluster = r.cfg.NewCluster
	head := wire.AppendTime(r.stamp[:0], r.time())
	if _, err := r.raft.Propose(wire.EntryConfig, head, wire.AppendMembership(nil, &m)); err != nil {
		panic(fmt.Sprintf("BUG: a new leader cannot propose the first configuration: %v", err))
	}
}

// leaderError is the refusal for a request that only the leader can answer.
func (r *Replica) leaderError() *wire.Error {
	leader := r.raft.Leader()
	if leader == 0 || leader == r.cfg.Raft.ID {
		return &wire.Error{Code: wire.CodeUnavailable, RetryAfterMs: silentRetryMs, Text: "no leader is known; an election may be under way"}
	}
	return &wire.Error{Code: wire.CodeNotLeader, Leader: r.clientAddress(leader)}
}

func (r *Replica) clientAddress(id wire.NodeID) string {
	for i := range r.clients {
		if r.clients[i].id == id && r.clients[i].addr != "" {
			return r.clients[i].addr
		}
	}
	if m := r.Membership().Find(id); m != nil {
		return m.ClientAddr
	}
	return ""
}

// refusalOf turns an error of raft, the state machine or a decoder into what
// the client is told.
func (r *Replica) refusalOf(err error) *wire.Error {
	var refused *wire.Error
	switch {
	case errors.As(err, &refused):
		return refused
	case errors.Is(err, raft.ErrNotLeader):
		return r.leaderError()
	case errors.Is(err, raft.ErrBusy):
		return &wire.Error{Code: wire.CodeBusy, RetryAfterMs: busyRetryMs, Text: "too many writes wait for a majority of disks"}
	case errors.Is(err, wire.ErrTooLarge):
		return &wire.Error{Code: wire.CodeTooLarge, Text: err.Error()}
	case errors.Is(err, wire.ErrMalformed):
		return &wire.Error{Code: wire.CodeBadRequest, Text: err.Error()}
	default:
		return &wire.Error{Code: wire.CodeInternal, Text: err.Error()}
	}
}
