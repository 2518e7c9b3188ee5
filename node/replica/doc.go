// Package replica is one member of a cluster without its I/O: the Raft core, a
// state machine, the queue of reads and the replies that are owed. It is a
// deterministic function from events to effects.
//
//	client frames ─► Request ──► raft.Propose ─► log ─► Store ──► disk
//	                    │                                           │ Stored
//	                    └─► read queue ─► quorum round              ▼
//	peer frames ───► Peer ─────► raft.Step ───────────────► commit index
//	                                                                │
//	client ◄── Replies ◄── pending writes ◄── StateMachine.Apply ◄──┘
//	peers  ◄── Peers   ◄── messages that may be sent
//
// The caller feeds a batch of events and then collects the effects:
//
//	r.Begin(now)          // the clock is read once, before the batch
//	r.Request(conn, f)    // any number of events
//	r.Peer(from, f)
//	fx := r.Effects()     // carry out; valid until the next Begin. Due at once when r.Full()
//
// Replica is not safe for concurrent use and keeps no bytes that it is handed,
// except Store and Entries memory, which is immutable once made.
//
// # What is promised
//
// A write is answered when its entry is committed and applied. A write whose
// entry was appended and then lost sight of, because leadership moved, is
// answered when its index is applied: with its result if the entry is the same,
// as not carried out if another entry was committed there, and as unknown if
// that cannot be told in time. Reads wait for a quorum round that started after
// they arrived, and for the state machine to have applied all that was committed
// then. A stale read is answered at once by any member.
//
// # Decisions
//
// 2026-11-23: one reply queue in index order instead of a map from request to
// waiter. Entries are applied in index order, so the head of the queue is
// always the next to be answered; nothing is looked up and nothing allocated.
//
// 2026-11-23: a lease read without a valid lease waits for a quorum round
// instead of being refused: the caller gets at least what it asked for.
//
// 2026-11-23: what a leader has taken and not applied is bounded by the same
// number as what is not committed, instead of applying all that is committed in
// one batch: the bytes of a batch bound how long nothing else is done.
//
// 2026-11-23: a batch that is full ends early, instead of refusing the requests
// that follow: a refusal is a reply, too.
//
// 2026-11-23: a write that outlives its leader's term stays pending for two
// election timeouts instead of being answered as unknown at once: after an
// orderly change of leader nearly all of them are committed by the successor.
package replica
