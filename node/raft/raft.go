package raft

import (
	"errors"
	"fmt"

	"github.com/dnode-engine/dnode/wire"
)

// maxWaiting bounds the messages that wait for a disk that hangs. Beyond it
// they are dropped, which Raft allows at any time.
const maxWaiting = 1024

// Raft is one member's core. It is not safe for concurrent use.
type Raft struct {
	cfg  Config
	log  raftLog
	rand uint64 // state of the generator of election timeouts

	now     int64 // of this batch
	started int64 // now of the first batch
	stamp   uint64
	ticks   uint64

	role   Role
	leader wire.NodeID
	// Invariant: term never decreases; vote is cleared when it grows and set at
	// most once in it.
	term wire.Term
	vote wire.NodeID
	// Invariant: the current term and vote are, or will be, part of storage
	// batch voteSeq; voteDirty until that is handed out. A message leaves only
	// when synced has reached the voteSeq of its making.
	voteSeq   uint64
	voteDirty bool
	seq       uint64 // of the newest storage batch
	synced    uint64 // of the newest durable one

	// The two outboxes.
	out     []wire.PeerMessage // may leave now
	waiting []waiting          // leaves when its batch is durable; oldest first

	elections             // election.go
	follow    followState // follow.go
	rounds    rounds      // read.go

	uncommitted   int        // bytes of entries after the commit index
	termStart     wire.Index // leader: its no-op, the first entry that counting may commit
	heartbeatLeft int        // leader: ticks to the next round
	reads         []ReadRequest

	// Invariant: configs is not empty and sorted by index; the newest is in
	// force, the others are what truncations could bring back. peers is sorted
	// by id and has one element for each member of the newest.
	configs []ConfigAt
	peers   []peer
	changes uint64 // of the configuration in force
}

type waiting struct {
	seq uint64
	m   wire.PeerMessage
}

// New builds a core from what recovery found.
func New(cfg Config, st State) (*Raft, error) {
	if err := check(&cfg, &st); err != nil {
		return nil, fmt.Errorf("cannot start raft: %w", err)
	}
	r := &Raft{cfg: cfg, role: Follower, term: st.Vote.Term, vote: st.Vote.For, started: -1}
	r.rand = cfg.Seed ^ uint64(cfg.ID)*0x9e3779b97f4a7c15
	r.log.init(&st, cfg.TailBytes)
	if t := r.log.lastTerm(); t > r.term {
		r.term, r.vote = t, 0
		r.voteChanged()
	}
	r.configs = append(r.configs, st.Older...)
	r.configs = append(r.configs, ConfigAt{st.MembersIndex, st.Members})
	r.rebuildPeers()
	r.abstain = st.Abstain
	r.sinceLeader = cfg.ElectionTicks
	r.drawTimeout()
	switch {
	case !r.soleVoter():
		if !st.Fresh {
			r.restarted, r.silentTicks = true, cfg.ElectionTicks
		}
	case st.Abstain:
		return nil, errors.New("cannot start raft: the only voter's vote is damaged")
	default:
		r.campaign()
	}
	return r, nil
}

func check(cfg *Config, st *State) error {
	switch {
	case cfg.ID == 0:
		return errors.New("member id is zero")
	case cfg.HeartbeatTicks < 1 || cfg.ElectionTicks <= cfg.HeartbeatTicks:
		return fmt.Errorf("election timeout %d and heartbeat %d ticks", cfg.ElectionTicks, cfg.HeartbeatTicks)
	case cfg.MaxAppendBytes < 1 || cfg.MaxInflightBytes < 1 || cfg.MaxUncommittedBytes < 1 || cfg.TailBytes < 1:
		return errors.New("a limit is not positive")
	case st.First == 0 || st.Last+1 < st.First:
		return fmt.Errorf("log from %d to %d", st.First, st.Last)
	case st.Vote.Term > maxTerm || st.Last > maxIndex:
		return fmt.Errorf("term %d, last index %d", st.Vote.Term, st.Last)
	case st.Last > 0 && (len(st.Runs) == 0 || st.Runs[0].First > max(st.First-1, 1) || st.Runs[len(st.Runs)-1].First > st.Last):
		return fmt.Errorf("terms %v of log from %d to %d", st.Runs, st.First, st.Last)
	case st.Last == 0 && len(st.Runs) > 0:
		return fmt.Errorf("terms %v of an empty log", st.Runs)
	case st.MembersIndex > st.Last:
		return fmt.Errorf("configuration at %d in log to %d", st.MembersIndex, st.Last)
	}
	if st.Abstain && st.Vote.Term == 0 && len(st.Members.Members) > 1 {
		return errors.New("nothing is left of this member's vote")
	}
	return st.Members.Check()
}

// SetNow gives the core the time, on a clock that never goes back and counts
// suspension; sampled once per batch of events, before them.
func (r *Raft) SetNow(nanos int64) {
	if r.started < 0 {
		r.started = nanos
	}
	r.now = max(r.now, nanos)
}

// SetStamp gives the replicated time that the core puts into the no-op entry
// if it is elected in this batch. A smaller value than LastTime is raised to it.
func (r *Raft) SetStamp(nanos uint64) { r.stamp = nanos }

// LastTime returns the leader's time in the last entry of the log.
func (r *Raft) LastTime() uint64 { return r.log.time() }

// Commit returns the commit index.
func (r *Raft) Commit() wire.Index { return r.log.commit }

// Term returns the current term.
func (r *Raft) Term() wire.Term { return r.term }

// Role returns the current role.
func (r *Raft) Role() Role { return r.role }

// Leader returns the leader of the current term, zero if it is not known.
func (r *Raft) Leader() wire.NodeID { return r.leader }

// Status returns a copy of the state.
func (r *Raft) Status() Status {
	self := r.find(r.cfg.ID)
	return Status{
		ID: r.cfg.ID, Role: r.role, Voter: self != nil && (self.voter || self.outgoing),
		Term: r.term, Vote: r.vote, Leader: r.leader,
		Commit: r.log.commit, Applied: r.log.applied, Last: r.log.last, Durable: r.log.durable,
		First: r.log.first, MemFirst: r.log.memFirst, MemBytes: r.log.memBytes,
		Uncommitted: r.uncommitted, MembersIndex: r.configs[len(r.configs)-1].Index,
		Abstaining: r.abstain, Waiting: len(r.waiting), DiskStalled: r.diskStalled(),
	}
}

// Entries returns encoded entries [lo, hi) from memory, back to back: at least
// one, at most maxBytes unless the first alone is larger, and possibly fewer
// than asked for. It is nil if lo is not in memory. The bytes never change.
func (r *Raft) Entries(lo, hi wire.Index, maxBytes int) []byte {
	b, _ := r.log.slice(lo, hi, maxBytes)
	return b
}

// Applied tells that entries up to i, which are committed, were applied and may
// leave memory.
func (r *Raft) Applied(i wire.Index) {
	if i > r.log.commit {
		panic(fmt.Sprintf("BUG: applied %d above commit index %d", i, r.log.commit))
	}
	r.log.applied = max(r.log.applied, i)
	r.log.evict(min(r.log.durable, r.log.applied), r.cfg.TailBytes)
	r.log.evict(min(r.log.durable, r.log.applied, r.everywhere()), min(r.cfg.TailBytes, sharedTailBytes))
}

// everywhere returns an entry up to which a leader knows that every member has
// the log. To others nobody asks for entries.
func (r *Raft) everywhere() wire.Index {
	i := r.log.last
	if r.role != Leader {
		return i
	}
	for k := range r.peers {
		if p := &r.peers[k]; p.id != r.cfg.ID {
			i = min(i, p.match)
		}
	}
	return i
}

// Tick advances the core's timers by one tick.
func (r *Raft) Tick() {
	r.ticks++
	r.silentTicks = max(r.silentTicks-1, 0)
	r.sinceLeader++
	r.elapsed++
	if r.role == Leader {
		r.tickLeader()
		return
	}
	r.resendVotes()
	if r.elapsed >= r.timeout+r.reluctance {
		r.campaign()
	}
}

// SetReluctant makes this node leave elections to the others, for two election
// timeouts, while it has a reason not to lead that others may not have. If they
// do not elect anybody, it campaigns after all.
func (r *Raft) SetReluctant(on bool) {
	r.reluctance = 0
	if on {
		r.reluctance = 2 * r.cfg.ElectionTicks
	}
}

// Resign gives up leadership for an election among the others. What was proposed
// stays in the log. A sole voter goes on.
func (r *Raft) Resign() {
	if r.role == Leader && !r.soleVoter() {
		r.becomeFollower(r.term, 0)
	}
}

// tickLeader starts rounds, and steps down from a disk that hangs or a quorum
// that is silent. A sole voter has nobody to make way for.
func (r *Raft) tickLeader() {
	if r.diskStalled() && !r.soleVoter() {
		r.becomeFollower(r.term, 0)
		return
	}
	if r.elapsed >= r.cfg.ElectionTicks {
		r.elapsed = 0
		if !r.quorumActive() {
			r.becomeFollower(r.term, 0)
			return
		}
	}
	if r.heartbeatLeft--; r.heartbeatLeft <= 0 {
		r.heartbeat()
	}
	r.hurryCommit()
}

// becomeFollower enters a term, or leaves a role in the current one.
func (r *Raft) becomeFollower(term wire.Term, leader wire.NodeID) {
	if term > r.term || r.role != Follower {
		r.follow = followState{}
	}
	if r.role == Leader {
		r.elapsed, r.uncommitted = 0, 0
	}
	if term > r.term {
		r.setVote(term, 0)
		r.drawTimeout()
	}
	r.role, r.leader = Follower, leader
}

// setVote enters a term or votes in it. What is sent from now on waits for the
// batch that saves it.
func (r *Raft) setVote(term wire.Term, candidate wire.NodeID) {
	if term < r.term || term == r.term && r.vote != 0 && r.vote != candidate {
		panic(fmt.Sprintf("BUG: vote for %d in term %d after %d in term %d", candidate, term, r.vote, r.term))
	}
	r.term, r.vote = term, candidate
	r.voteChanged()
}

func (r *Raft) voteChanged() {
	r.voteDirty = true
	r.voteSeq = r.seq + 1
}

// becomeLeader is reached only with this node's own vote on its disk, if it is
// a voter: the term of a leader is durable, so that its appends may leave at once.
func (r *Raft) becomeLeader() {
	r.role, r.leader = Leader, r.cfg.ID
	r.elapsed = 0
	r.rounds = rounds{}
	for i := range r.peers {
		r.peers[i].reset(r.log.last)
	}
	if self := r.find(r.cfg.ID); self != nil {
		self.match = r.log.durable
		self.becomeReplicate()
	}
	r.uncommitted = r.log.bytesAfter(r.log.commit)
	r.termStart = r.log.last + 1
	head := wire.AppendTime(make([]byte, 0, 8), max(r.stamp, r.log.time()))
	r.uncommitted += r.log.propose(wire.EntryNoop, r.term, head, nil)
	r.heartbeat()
}

// Step handles one message. Its Entries are copied. The error wraps
// ErrNonsense: the peer is broken, and nothing was changed but, at most, the
// term: see leap.
func (r *Raft) Step(m *wire.PeerMessage) error {
	if m.From == 0 || m.From == r.cfg.ID || m.Term == 0 || m.Term > maxTerm || m.Index > maxIndex {
		return fmt.Errorf("%w: type %d from %d, term %d, index %d", ErrNonsense, m.Type, m.From, m.Term, m.Index)
	}
	switch m.Type {
	case wire.FrameSnapshot, wire.FrameTimeoutNow:
		return nil
	case wire.FramePreVote:
		r.stepPreVote(m)
		return nil
	}
	if m.Term > r.term+maxLeap {
		return r.leap(m)
	}
	switch m.Type {
	case wire.FrameVote:
		r.stepVote(m)
		return nil
	case wire.FramePreVoteReply, wire.FrameVoteReply:
		r.stepVoteReply(m)
		return nil
	case wire.FrameAppend:
		return r.stepAppend(m)
	case wire.FrameRound:
		return r.stepRound(m)
	case wire.FrameAppendReply, wire.FrameRoundReply:
		if m.Term > r.term {
			r.becomeFollower(m.Term, 0)
		}
		if m.Term < r.term || r.role != Leader {
			return nil // stale: from an older term or to an older role
		}
		if m.Type == wire.FrameRoundReply {
			return r.stepRoundReply(m)
		}
		return r.stepAppendReply(m)
	default:
		return fmt.Errorf("%w: type %d", ErrNonsense, m.Type)
	}
}

const (
	// Highest values taken from outside, far from where arithmetic wraps. In
	// maxTerm nobody campaigns: the term after it would be refused.
	maxTerm  wire.Term  = 1 << 62
	maxIndex wire.Index = 1 << 62
	// maxLeap is how many terms one message may move a node: more elections than
	// a node can miss, and so few that terms do not run out.
	maxLeap wire.Term = 1 << 32
)

// leap handles a message from a term so far ahead that no cluster came there by
// elections. The node follows part of the way, so that it meets a member that was
// led astray, and the sender is told that it talks nonsense.
func (r *Raft) leap(m *wire.PeerMessage) error {
	promise := m.Type == wire.FramePreVoteReply && !m.Reject
	if !promise && (m.Type != wire.FrameVote || r.mayVote()) {
		r.becomeFollower(r.term+maxLeap, 0)
	}
	return fmt.Errorf("%w: type %d from %d, term %d is more than %d ahead", ErrNonsense, m.Type, m.From, m.Term, maxLeap)
}

// Synced reports that storage batch seq and all before it are durable: votes
// count, messages that waited leave, and entries are acknowledged or counted.
func (r *Raft) Synced(seq uint64) {
	if seq > r.seq {
		panic(fmt.Sprintf("BUG: batch %d is durable, %d is the newest", seq, r.seq))
	}
	if seq <= r.synced {
		return
	}
	r.synced = seq
	r.log.synced(seq)
	n := 0
	for n < len(r.waiting) && r.waiting[n].seq <= seq {
		r.out = append(r.out, r.waiting[n].m)
		n++
	}
	r.waiting = append(r.waiting[:0], r.waiting[n:]...)
	switch r.role {
	case Candidate:
		r.countOwnVote()
	case Leader:
		if self := r.find(r.cfg.ID); self != nil {
			self.match = r.log.durable
			self.next = self.match + 1
			r.maybeCommit()
		}
	case Follower:
		r.durableGrew()
	}
}

// emit puts a message of the current term (or the one it names) into the
// outbox that it belongs to.
func (r *Raft) emit(m wire.PeerMessage) {
	m.From = r.cfg.ID
	if m.Term == 0 {
		m.Term = r.term
	}
	if r.synced >= r.voteSeq {
		r.out = append(r.out, m)
	} else if len(r.waiting) < maxWaiting {
		r.waiting = append(r.waiting, waiting{r.voteSeq, m})
	}
}

// Ready takes everything that is to be done.
func (r *Raft) Ready(rd *Ready) {
	clear(rd.Append)
	clear(rd.Now)
	*rd = Ready{Append: rd.Append[:0], Now: rd.Now[:0], Reads: rd.Reads[:0]}
	if r.role == Leader {
		r.startRound()
		r.sendAppends()
	} else {
		r.acknowledge()
	}
	if r.voteDirty || r.log.handed < r.log.last {
		r.seq++
		rd.Seq = r.seq
		rd.SaveVote, r.voteDirty = r.voteDirty, false
		rd.Vote = wire.Vote{Term: r.term, For: r.vote, Abstain: r.abstain}
		rd.Append = r.log.handOut(rd.Append, r.seq, r.ticks)
	}
	rd.Now, r.out = r.out, rd.Now
	rd.Reads, r.reads = r.reads, rd.Reads
}

// diskStalled reports whether the oldest unsynced batch is older than an
// election timeout. Such a node does not campaign or vote, nor lead if somebody
// else could.
func (r *Raft) diskStalled() bool {
	return len(r.log.batches) > 0 && r.ticks-r.log.batches[0].tick > uint64(r.cfg.ElectionTicks)
}
