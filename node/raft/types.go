package raft

import (
	"errors"

	"github.com/dnode-engine/dnode/wire"
)

// Errors of proposals and reads. None of them leaves anything behind: what was
// refused was certainly not appended.
var (
	// ErrNotLeader refuses a proposal or a read on a node that does not lead.
	ErrNotLeader = errors.New("not the leader")
	// ErrBusy refuses a proposal that would exceed MaxUncommittedBytes, or a command
	// while this node's own disk is so far behind that memory is full of what it lacks.
	ErrBusy = errors.New("too many uncommitted bytes")
	// ErrNotReady refuses a read, or a change of voters, before the leader has
	// committed an entry of its own term.
	ErrNotReady = errors.New("no entry of this term is committed yet")
	// ErrConfigPending refuses a configuration while another is uncommitted.
	ErrConfigPending = errors.New("a configuration change is in progress")
	// ErrBadConfig refuses a configuration that may not follow the current one.
	ErrBadConfig = errors.New("configuration may not follow the current one")
	// ErrNonsense is wrapped by every error of Step: a correct peer does not
	// send such a message. Nothing was changed by it, but for a term far ahead.
	ErrNonsense = errors.New("nonsensical message")
)

// Config is what never changes while a core lives.
type Config struct {
	ID            wire.NodeID
	ElectionTicks int // minimum election timeout; each draw is uniform in [ElectionTicks, 2*ElectionTicks)
	// HeartbeatTicks is the interval of a leader's rounds; below ElectionTicks.
	HeartbeatTicks int
	// LeaseNanos is how long a confirmed round keeps a lease, from its sending.
	// It is at most 0.8 of the real time of ElectionTicks. Zero: no leases.
	LeaseNanos int64
	Seed       uint64 // of the generator that draws election timeouts

	MaxAppendBytes      int // entries of one Append message, unless the first alone is larger
	MaxInflightBytes    int // entries sent to one peer and not yet acknowledged
	MaxUncommittedBytes int // proposals not yet committed, beyond which Propose says ErrBusy
	TailBytes           int // memory of the log's tail kept for apply and for peers that lack it
}

// ConfigAt is a configuration and the index of its entry (0: bootstrap).
type ConfigAt struct {
	Index   wire.Index
	Members wire.Membership
}

// State is what recovery found on the disk.
type State struct {
	Vote    wire.Vote
	Abstain bool // a vote may be forgotten: see Decisions
	Fresh   bool // never voted and never appended: no restart silence

	First wire.Index     // first entry in the log; 1 if nothing was ever purged
	Last  wire.Index     // last entry, First-1 if there is none
	Runs  []wire.TermRun // terms of [First, Last], and of First-1 if First > 1
	// LastTime is the leader's time in entry Last, zero if the log is empty.
	LastTime uint64

	// Members is the configuration of the newest configuration entry in the
	// log, or the bootstrap configuration with MembersIndex zero. Older holds
	// those before it that a truncation could bring back, newest last.
	Members      wire.Membership
	MembersIndex wire.Index
	Older        []ConfigAt
}

// Role is what a node does in its current term.
type Role uint8

// The roles.
const (
	Follower Role = iota + 1
	PreCandidate
	Candidate
	Leader
)

func (r Role) String() string {
	switch r {
	case Follower:
		return "follower"
	case PreCandidate:
		return "pre-candidate"
	case Candidate:
		return "candidate"
	case Leader:
		return "leader"
	default:
		return "invalid"
	}
}

// Read is the ticket of a linearizable read. It may be served once Confirmed
// has reached Round, while the node still leads in Term, and the state machine
// has applied Index.
type Read struct {
	Term  wire.Term
	Round uint64
	Index wire.Index
}

// ReadRequest asks the log store for entries [Lo, Hi) that are no longer in
// memory: at least one, at most MaxBytes unless the first alone is larger.
// The answer goes to EntriesRead.
type ReadRequest struct {
	Peer     wire.NodeID
	Lo, Hi   wire.Index
	MaxBytes int
}

// Ready is everything that is to be done after a batch of events. The caller
// passes the same value again and again; its slices are then reused.
type Ready struct {
	// Seq numbers the storage batch made of Vote and Append; zero: there is
	// nothing to store. Batches are stored in order, and Synced reports them.
	Seq uint64
	// Vote is to be made durable before Append is written, if SaveVote is set.
	Vote     wire.Vote
	SaveVote bool
	// Append holds runs of whole encoded entries with contiguous indexes. The
	// first index may be at or below the end of the stored log: it supersedes
	// that entry and all after it. The bytes are immutable and stay valid.
	Append [][]byte
	// Now may be sent at once. Entries alias immutable bytes of the log, or the
	// data that was given to EntriesRead.
	Now []wire.PeerMessage
	// Reads are entries to be fetched from the log store for slow peers.
	Reads []ReadRequest
}

// Status is a copy of the core's state, for people and metrics.
type Status struct {
	ID           wire.NodeID
	Role         Role
	Voter        bool // a voter of the effective configuration
	Term         wire.Term
	Vote         wire.NodeID
	Leader       wire.NodeID // zero: unknown
	Commit       wire.Index
	Applied      wire.Index
	Last         wire.Index
	Durable      wire.Index // entries up to here are on this node's disk
	First        wire.Index // first entry in the log
	MemFirst     wire.Index // first entry in memory; Last+1 if none is
	MemBytes     int        // memory of the log's chunks
	Uncommitted  int        // bytes of entries after Commit
	MembersIndex wire.Index
	Abstaining   bool
	Waiting      int  // messages that wait for the vote to be on this node's disk
	DiskStalled  bool // the oldest unsynced batch is older than an election timeout
}

// PeerState is how a leader replicates to one peer.
type PeerState uint8

// The states of a peer, as in etcd's tracker.
const (
	Probe     PeerState = iota + 1 // looking for the last common entry, one message at a time
	Replicate                      // pipelining
	Snapshot                       // needs entries that are no longer in the log
)

func (s PeerState) String() string {
	switch s {
	case Probe:
		return "probe"
	case Replicate:
		return "replicate"
	case Snapshot:
		return "snapshot"
	default:
		return "invalid"
	}
}

// PeerProgress is what a leader knows about one member, itself included.
type PeerProgress struct {
	ID            wire.NodeID
	State         PeerState
	Voter         bool
	Active        bool // heard from since the last check of the quorum
	Match, Next   wire.Index
	InflightBytes int
}
