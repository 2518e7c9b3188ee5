// Package raft is the Raft algorithm as a pure state machine: events in
// ([Raft.Tick], [Raft.Step], [Raft.Propose], [Raft.ReadIndex], [Raft.Synced],
// ...), a [Ready] out. It has no clock, no I/O and no goroutine, and it owns
// the memory of the log, which others borrow.
//
//	              times out, pre-votes          majority would vote
//	          ┌──────────────────────► PreCandidate ─────────────► Candidate
//	          │                             │ current leader,          │
//	start ─► Follower ◄─────────────────────┘ or lost                  │ majority voted,
//	          ▲  ▲ ◄───────────────────────────────────────────────────┤ own vote durable
//	          │  └── higher term, silent quorum, hanging disk, removed  ▼
//	          │                                            └───────── Leader ─► no-op
//	          └── a sole voter goes to Candidate at once
//
// # Two outboxes
//
// What must not be said before the disk has it never leaves the core before:
//
//	Step, Tick, Propose
//	   │                       Ready.Now ──────────────► peers
//	   │      term and vote ▲                  ▲
//	   ├──► durable already ┘                  │ Synced(seq ≥ voteSeq)
//	   ├──► not yet ───────► waiting ──────────┘
//	   └──► log ─► Ready.Append, SaveVote (batch Seq) ─► disk ─► Synced(Seq)
//	                                                               │
//	           AppendReply with min(durable, verified) ◄───────────┘
//
// A leader's Appends and Rounds are always of the first kind: its term is
// durable, because its own vote counted only when it was (thesis 10.2.1 lets a
// leader send before its own disk is done, not count itself).
//
// # What must always hold
//
//   - At most one leader in a term; a leader's log holds every entry that was
//     committed in an earlier term; logs with an equal (index, term) are equal up to it.
//   - Only entries of the leader's own term are committed by counting disks,
//     its own among them (5.4.2).
//   - A follower acknowledges min(durable, verified): what it has on its disk, as far
//     as it was verified against this leader in this term. It commits no further than that.
//   - A completion of the disk counts for an entry only while that very entry is in the log.
//   - A read is confirmed by answers to a round that began after it, never by what a peer has.
//   - Whoever helped to confirm a lease helps nobody else to lead before it ends.
//
// # Rooms
//
// raft.go dispatches and changes roles · election.go who leads · replicate.go
// the leader's side of the log · follow.go the follower's · progress.go one
// peer · quorum.go majorities · read.go rounds and leases · membership.go
// configurations · log.go the log in memory.
//
// # Decisions (2026-11-23)
//
//   - Messages wait inside the core rather than in the caller (etcd's
//     MsgStorageAppend carries replies): answering before the disk is then not
//     the caller's to get wrong.
//   - Stickiness and the silence after a restart are measured in ticks and on the clock
//     of SetNow, whichever is longer. Ticks alone are not enough: after a pause they may
//     come in a burst. Stickiness outlives a change of term, since a lease does.
//   - While it may not vote, a node does not take up a candidate's term either. A node stuck
//     in a higher term comes back by answering the leader's messages with its term.
//   - A pipeline without progress is asked with an empty Append behind everything sent, rather
//     than being probed and sent again: a slow disk costs no repetition, a loss is refused at once.
//   - A round's answer also says how far the follower verified its log. Without it a follower
//     that was restarted within a term could not follow the commit index until the next write.
//   - Commit indexes travel with Appends and Rounds only; an idle leader starts a round in the
//     next tick. An extra message per commit would cost two wake-ups per write.
//   - A node that its own uncommitted entry removes may lead once more, without counting itself
//     (thesis 4.2.2). "Learners never campaign" alone stopped a cluster in the random test.
//   - Voters change through a joint configuration only; one at a time was rejected (M1, and two
//     rules where one is enough). A configuration with the same voters needs no barrier.
//   - Vote slots that do not fit each other: the node abstains until an entry of a current leader's own term is on
//     its disk, not merely until it heard one: that entry proves that a majority chose this term.
//   - A node that has lost both slots does not start. Abstaining is not enough: it would
//     acknowledge entries of a leader that its forgotten vote has helped to replace, and so
//     commit what the new leader lacks (testdata/forgotten_vote.txt). No answer of the others
//     tells it which term that was, short of all of them. One slot of two is enough: each
//     alone holds every vote that was relied on (package wal, "Vote").
//   - Terms of the whole log are kept as runs (16 bytes per change of leader), so that consistency
//     checks and back-off never read the disk. In memory an entry costs its bytes and 4 more.
//   - Offsets per entry and segments per contiguous stretch, rather than (chunk, offset, size) per
//     entry: a third of the memory, and a message's bytes are found by binary search.
//   - One message moves a node by 2^32 terms at most. A member is trusted with the term, yet a
//     single absurd one must not use terms up for good. Refusing it without a move was rejected:
//     a member that was led astray in two steps would never meet the others again.
//   - A follower whose memory is full lets go of entries that are durable and not applied, as a
//     restart would. Refusing new ones until more is committed was rejected: a leader commits
//     what earlier ones left behind only with an entry of its own term, which comes after it.
//   - A sole voter leads on while its disk hangs. Stepping down like others was rejected: it made
//     way for nobody, and a write under a sync of more than half a second ended as unknown.
//   - A damaged log is not this package's to find: entries are verified when they come in.
//   - Small scopes are explored on the real core, whose steps are remembered by state and event,
//     with a network that keeps what was sent. A model in another language was rejected: it would
//     not be this code, and 130,000 states a second are enough.
//   - 2026-11-24: of entries that every member has 4 MiB stay in memory; TailBytes are for those
//     that one of them lacks. A shorter tail for all was rejected: a member whose disk stood still
//     for half a second would be served from the leader's, beside its syncs.
//
// # Sources
//
// D. Ongaro and J. Ousterhout, "In search of an understandable consensus
// algorithm" (extended version), sections 5, 6 and 8; D. Ongaro, "Consensus:
// bridging theory and practice", sections 3.8, 4, 6.4, 9.6, 10.2; etcd-io/raft for
// the peer states, the two outboxes and the back-off by terms.
package raft
