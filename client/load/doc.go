// Package load drives operations against a cluster and measures them. It is
// what `dnode bench` and the benchmark harness share.
//
//	res, err := load.Run(ctx, load.Config{
//		Op: load.Put, Endpoints: endpoints, Conns: 100, Clients: 1000,
//		Duration: 10 * time.Second,
//	})
//
// Clients is the exact number of operations in flight. They are not goroutines:
// the completion of one operation begins the next, on the goroutine that read
// the answer, so that a thousand of them cost what the answers cost to read.
//
// A closed loop (the default) keeps Clients operations in flight. It measures
// what the cluster can do, but a stall delays the operations behind it unseen.
// An open loop (Rate) begins operations at fixed times, whatever the cluster
// does, and counts latency from the time an operation was due; the lateness of
// the generator's own timer, some 0.1 ms, is included.
//
// A Mix puts and gets in a given share and counts the two apart; a Scan reads many
// keys in order; both, like a Get, write all keys first unless told that they are
// there.
//
// Nothing is hidden: an operation that fails is counted, by its kind, writes of
// unknown outcome apart; operations per second count what succeeded, up to the
// end of the last operation, stragglers included; and Result.InFlight says how
// many operations really were in flight until there was nothing left to begin.
//
// # Decisions
//
// 2026-11-23. The histogram is written here: 128 buckets for each doubling
// bound the error to 0.4 % in 36 KiB, recording takes a few nanoseconds and
// nothing is allocated. A dependency would bring ten times the code for
// features that nobody here needs.
//
// 2026-11-23. Failed operations are not in the latency histogram: a refusal
// takes microseconds and would flatter the median, a time-out would be a
// setting rather than a measurement. Their number stands beside the latencies.
//
// 2026-11-23. The number in flight is not operations per second times latency:
// that counts the time in which only stragglers are left, and on a busy machine
// a run of 20,000 operations with 100 in flight showed 49 to 100.
package load
