// Command bench measures dnode against etcd on one machine and writes a report.
//
//	go -C bench run .                     everything: hours
//	go -C bench run . -quick              the rows that matter most: about ten minutes
//	go -C bench run . -only put,get-1-1   some scenarios, by name or by group
//	go -C bench run . -etcd none -only put-100-1000 -rounds 3     dnode alone
//	go -C bench run . -quick -only embedded     Raft libraries, each embedded in one process: five minutes
//	go -C bench run . -list               the scenarios
//	go -C bench run . -out results/2026-11-24                     a report to keep
//
// It is a module of its own, so that etcd stays out of the product. It needs the
// go command, and git for the commit's name.
//
// # What is done
//
// dnode is built from this tree, etcd's server and its benchmark tool from their
// modules at exact versions, each in a scratch module: their dependencies exclude
// each other. The binaries stay in bench/out/bin.
//
// In each round, for each scenario, in turn for each system: the nodes are started
// on loopback with empty data folders and default settings; if the scenario reads,
// every key is written; a load of its own process warms up and then measures; the
// nodes are killed and their data removed. Only one system is up at a time. Which
// one comes first changes from round to round. The floors of the machine are
// measured at the beginning of each round.
//
// # What is alike
//
//   - Both sync to the disk before they answer a write. Nothing is configured but
//     names, addresses and folders.
//   - The same generator (client/load) drives both, with the same keys, values,
//     clock and histogram: dnode through package client, etcd through clientv3,
//     each without a deadline per request that the other does not have on the wire.
//   - Clients are operations in flight. The report shows throughput times mean
//     latency beside them (Little's law) and marks what is off by more than a tenth.
//   - Writes and linearizable reads go to the leader on both sides; stale reads
//     (etcd: serializable) are spread over all nodes, connection by connection.
//   - Keys that are read exist. One that is not found is an error, and errors are
//     counted, listed and left out of latencies.
//   - An open loop begins operations at a fixed rate, a part of what a closed loop
//     reached on the same cluster a moment before, and counts latency from when each
//     was due.
//
// # How to read the report
//
// Figures are medians over the rounds with the least and the most beside them;
// ratios are taken within each round and then summed up likewise. CPU time comes
// from /proc/PID/stat (ticks of 10 ms), memory from /proc too, and syncs and elections
// from the servers' own metrics. KiB/op is what the disk itself has written meanwhile,
// journal and other programs included. Elsewhere than on Linux these columns are
// empty. Bytes written by dnode include the zeros that a new log segment
// is filled with before it is used, which weighs most in short runs. The
// memory scenario is run in the first round only. All that was measured is in
// results.json, one run per line, with the whole histogram of each.
//
// Other programs on the same cores do not hit both alike: what sleeps and wakes more
// often loses more. So each run notes how many cores all else has used, and a report
// made on a machine that was not quiet says so at its head.
//
// The echo that throughput is held against answers dnode's own frames of a get, each
// checked and answered with its own id and checksum, over one connection with 1,000
// in flight; it looks nothing up. "floor" for one client is p50 divided by: for a put
// three syncs at once and two round trips, for a linearizable get two round trips,
// for other gets one.
//
// Syncs are shown as the servers' own histograms have them, beside a control: plain
// syncs that the harness does meanwhile, in a file of its own.
//
// The cross-check lets etcd's own tool put the same load on etcd. It cannot leave
// out a warm-up and cannot be told a time, so it is run twice, a short time to learn
// how much it does and then for as long as ours.
//
// # Embedded
//
// The scenarios embedded-1, -100 and -1000 compare dnode with other Raft libraries
// as a program would embed them: etcd's, HashiCorp's and dragonboat, with three
// nodes and the load in one process. Package embedded says how and what is alike.
// In each round they are run one after the other, each round beginning with another
// one; here CPU time is that of the whole process. A library that cannot
// be built or started is reported with the reason.
//
// # When it stops
//
// Ctrl-C stops all that was started and reports what was measured so far. Started
// programs are remembered by their process, never looked for by name. On Linux they
// are killed too if this program is killed. A run that fails is recorded with its
// reason, the others are made, and the exit code is 1.
//
// # Decisions
//
// 2026-11-24. One system at a time, on empty folders. Rejected: both up and idle in
// turn, which is quicker, but an idle cluster still beats its heart on the same
// cores, and logs and databases would grow from run to run.
//
// 2026-11-24. Nodes are killed, not asked to stop: a clean stop of etcd takes
// seconds, and nothing is kept.
//
// 2026-11-24. etcd's client is used from one goroutine per place in flight and
// without deadlines, as etcd's own tool does. A goroutine and a deadline per
// operation are more natural in Go and took 5 to 9 % more of the load's CPU time,
// which etcd would have been charged with.
//
// 2026-11-24. The load has one process per run, this program again, since a load
// inside the harness would share its heap and its scheduler with it.
//
// 2026-11-24. The gnet echo parses frames. One that copies bytes in bulk does 14
// million messages a second on two cores and says nothing about a protocol.
//
// 2026-11-24. Each Raft library is embedded in a program of its own, built when it
// is asked for. In one program with the harness, a library that does not compile
// here would take all others with it, and each heap would hold all of them.
//
// 2026-11-24. The embedded scenarios are not part of plain -quick: they take five
// minutes of its ten.
//
// 2026-11-24. The control of the syncs runs during each run, every 50 ms: some
// 0.3 % of the disk's time, for both sides. Before the runs, as the floors are, it
// would miss the stalls that it is to explain.
//
// 2026-11-24. gonum.org/v1/plot for charts: it draws SVG and PNG, error bars and
// logarithmic axes. Bars on a logarithmic axis are ours.
package main
