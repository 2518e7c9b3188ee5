// Package sim runs whole clusters of real replicas, on real logs over
// simulated disks, in one goroutine and in virtual time. One seed decides
// everything: the network, the disks, the crashes, the load. The same seed
// gives the same run, so that a failure is replayed by its number.
//
//	clients ──frames──►┌────────── node ──────────┐◄──frames── other nodes
//	   ▲               │ replica ─► disk ─► wal ─► │ crashfs
//	   └───replies─────└──────────────────────────┘
//	              events in a heap, ordered by virtual time
//
// Nothing of the product is re-implemented here: node/replica, node/raft,
// node/kv, node/disk and wal run as they ship, and bytes pass the real frame
// decoder. Simulated are: the network (delay with a heavy tail, loss,
// duplication, reordering, one-way and symmetric partitions), the disk (what a
// power cut leaves of unsynced sectors; a write cut short at any operation; slow
// syncs), the process (kill -9, power loss, restart, of any subset at once) and
// the clock.
//
// # Checkers
//
// After every event: one leader per term; one vote per node and term; an entry
// is determined by index and term, and so is the entry before it (log
// matching); a new leader holds every entry committed in an earlier term
// (leader completeness, by the term of the leader that committed it); what is
// committed at an index never changes; an equal applied index means an equal
// state hash; an answered write is on the disks of a majority, as far as they
// would survive a power cut; what was on a disk before a restart is there after
// it. When faults have stopped: a leader is found, all members converge, and
// every answered write is in the log as it was sent.
package sim
