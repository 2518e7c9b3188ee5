// Package etcdraft holds dnode's core against go.etcd.io/raft: its tests let both
// go through the same schedule of elections, proposals, partitions, lost and
// repeated messages, and crashes, drawn from a seed. It is a module of its own, so
// that etcd stays out of the product.
//
//	go -C tools/etcdraft test .
//	go -C tools/etcdraft test . -args -seeds 5000
//	go -C tools/etcdraft test . -run Quiescent -v -args -seed 17
//
// Where each event is followed by quiet, leaders, terms, commit indexes and logs
// must be equal, node by node. Where messages are lost or repeated one by one the
// two need not agree on who got what, since they say different things on the way;
// there each must keep all promises by itself, and both must end with a leader, one
// log, and everything in it that was ever committed.
//
// # What is alike, and what had to be made so
//
// Elections are explicit: a node campaigns when the schedule says so, with pre-vote
// in both. For dnode that means that enough time passes for those who heard a leader
// (etcd runs without CheckQuorum, whose lease is its stickiness), and that a leader
// within reach gives up first: a live leader of dnode does not grant pre-votes. Only
// leaders' clocks tick otherwise. etcd's commit index survives a restart and dnode's
// is learnt again, so that commit indexes are compared where a leader has a majority.
package etcdraft
