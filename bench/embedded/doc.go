// Package embedded measures Raft libraries as they are embedded: three nodes and
// the load in one process, which is one program per library so that none carries
// the others' code, goroutines and heap. The harness builds and starts them.
//
//	dnode       package node; its client over one loopback connection, since
//	            there is none that calls a node directly
//	etcdraft    go.etcd.io/raft with etcd's own log (server/storage/wal) and
//	            transport (rafthttp), driven as etcd drives it
//	hashicorp   github.com/hashicorp/raft with raft-wal, behind the cache of 512
//	            entries that Consul puts there, and its TCP transport
//	dragonboat  github.com/lni/dragonboat/v3 with its default log (Pebble) and
//	            TCP transport
//
// # What is alike
//
//   - Nodes talk TCP over loopback, each has a data folder of its own on the same
//     disk, and an entry is acknowledged only when a majority has synced it and the
//     leader has applied it.
//   - The state machine is node/kv everywhere, and an entry is a put in its
//     encoding: what is compared is the way there. etcd's library does not tell who
//     proposed what, so its entries carry a number of 8 bytes more; dnode's carry
//     the client's session.
//   - The load is client/load: the same keys, values, clock and histogram. Places in
//     flight are goroutines that wait for one proposal after the other, except for
//     dnode, whose client calls back.
//   - Nobody takes a snapshot or throws its log on the disk away.
//
// CPU time and allocations are those of the whole process: of three nodes, the
// load, and for dnode also of the client, its connection and the server's side of
// it, which the others do not have.
//
// # Decisions
//
// 2026-11-24. Settings are what each library starts with or, where it wants to be
// told, what its main user does: etcd's ticks, message sizes and its sending before
// the leader's own sync; Consul's log cache; for dragonboat the same ticks as etcd.
//
// 2026-11-24. etcd's library keeps the last 50,000 entries in memory, where etcd
// keeps 5,000 after each of its snapshots: here a follower that fell behind further
// could not be helped, since nobody takes one.
//
// 2026-11-24. rafthttp and not a transport of ours for etcd's library: one that we
// write could be said to be slow, this one is what runs in production.
//
// 2026-11-24. github.com/hashicorp/raft v1.7.3, not v1.8.0: raft-wal v0.4.2 does not
// compile with the version of go-metrics that v1.8.0 requires. dragonboat v3.3.8:
// v4 has no release.
package embedded
