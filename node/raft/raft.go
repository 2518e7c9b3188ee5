package raft

import "github.com/dnode-engine/dnode/wire"

// Raft is one member's core. It is not safe for concurrent use.
type Raft struct{}

// New builds a core from what recovery found.
func New(cfg Config, st State) (*Raft, error) { return &Raft{}, nil }

// SetNow gives the core the time, on a clock that never goes back and counts
// suspension; sampled once per batch of events, before them.
func (r *Raft) SetNow(nanos int64) {}

// SetStamp gives the replicated time that the core puts into the no-op entry
// if it is elected in this batch. A smaller value than LastTime is raised to it.
func (r *Raft) SetStamp(nanos uint64) {}

// LastTime returns the leader's time in the last entry of the log.
func (r *Raft) LastTime() uint64 { return 0 }

// Tick advances the core's timers by one tick.
func (r *Raft) Tick() {}

// Step handles one message. Its Entries are copied. The error wraps
// ErrNonsense: the peer is broken, and nothing was changed.
func (r *Raft) Step(m *wire.PeerMessage) error { return nil }

// Propose appends an entry whose payload is head and body. Neither is kept.
func (r *Raft) Propose(typ wire.EntryType, head, body []byte) (wire.Index, error) { return 0, nil }

// ReadIndex registers a linearizable read with the round that the next Ready
// starts. Errors: ErrNotLeader, ErrNotReady.
func (r *Raft) ReadIndex() (Read, error) { return Read{}, nil }

// Confirmed returns the highest round of this term that a quorum confirmed.
func (r *Raft) Confirmed() uint64 { return 0 }

// LeaseUntil returns when the lease ends on the clock of SetNow; zero: none.
func (r *Raft) LeaseUntil() int64 { return 0 }

// Synced reports that storage batch seq and all before it are durable.
func (r *Raft) Synced(seq uint64) {}

// EntriesRead answers a request of Ready.Reads. data is whole encoded entries
// from lo on; it must stay unchanged until what the next Ready returns is sent.
func (r *Raft) EntriesRead(peer wire.NodeID, lo wire.Index, data []byte, err error) {}

// PeerDown reports that the link to a peer was lost.
func (r *Raft) PeerDown(id wire.NodeID) {}

// PeerUp reports that a link to a peer is there: what waits is sent again.
func (r *Raft) PeerUp(id wire.NodeID) {}

// Entries returns encoded entries [lo, hi) from memory, back to back: at least
// one, at most maxBytes unless the first alone is larger, and possibly fewer
// than asked for. It is nil if lo is not in memory. The bytes never change.
func (r *Raft) Entries(lo, hi wire.Index, maxBytes int) []byte { return nil }

// Applied tells that entries up to i were applied and may leave memory.
func (r *Raft) Applied(i wire.Index) {}

// Commit returns the commit index.
func (r *Raft) Commit() wire.Index { return 0 }

// Term returns the current term.
func (r *Raft) Term() wire.Term { return 0 }

// Role returns the current role.
func (r *Raft) Role() Role { return Follower }

// Leader returns the leader of the current term, zero if it is not known.
func (r *Raft) Leader() wire.NodeID { return 0 }

// Membership returns the effective configuration (that of the newest
// configuration entry in the log, committed or not) and its index. It must not
// be modified.
func (r *Raft) Membership() (*wire.Membership, wire.Index) { return nil, 0 }

// Status returns a copy of the state.
func (r *Raft) Status() Status { return Status{} }

// Progress yields what a leader knows about each member, in order of id.
func (r *Raft) Progress(yield func(PeerProgress) bool) {}

// Ready takes everything that is to be done.
func (r *Raft) Ready(rd *Ready) {}
