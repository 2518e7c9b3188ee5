// Command dnode is the server and the command line of dnode: flags and text.
// What it does is done by the packages node, client, client/load and wal.
//
//	dnode demo               a cluster in one process, with a load and a failure
//	dnode serve              one node
//	dnode put | get | ...    a client of a running cluster
//	dnode wal ...            a look into a data folder, offline
//
// One file per command; main.go runs the command tree of root.go. What several
// commands share stands in one place each: flags from the environment in env.go,
// checked flag values in flags.go, output in output.go, exit codes and the text
// of errors in exit.go.
//
// Rules that scripts may rely on: stdout is data, stderr is talk; an error is
// one line that says what happened, why, and what to do next; exit codes are
// those of the table in exit.go; a flag wins over its DNODE_ variable, which
// wins over the default; colours only on a terminal, never with NO_COLOR.
//
// # Decisions
//
// 2026-11-23: cobra for the command tree. It adds little to the binary and
// keeps the linker's dead-code elimination; the alternatives that were weighed
// use reflection and cost three times as much, and the std flag package has
// neither groups nor completion. Help keeps cobra's own layout: a template of our
// own would switch that elimination off.
//
// 2026-11-23: `del` of a missing key exits 3, like `get`. Exit 0 would be nearer
// to Redis, but a script that removes a key wants to know that it was there.
//
// 2026-11-23: GOMAXPROCS 1 is raised to 2 here and not in the library: with one
// P a wake-up waits for whatever runs, and the process belongs to us only here.
//
// 2026-11-23: the tests on failing disks run builds with small segments and, to
// prove that they notice, builds that do not sync, both made with go build
// -overlay. Rejected: a flag or a variable that switches syncs off, in what users
// run.
//
// 2026-11-24: serve keeps the garbage that waits to be collected at 16 MiB or 5 % of
// what is alive. Go's default lets it grow to as much as is alive, which is slabs
// without pointers: a collection of a million keys takes 1 to 3 ms of CPU. Rejected: a
// memory limit that follows the heap, which also counts what cannot be helped and
// collects without end once it is reached; a fixed percentage, which collects every
// few hundred KiB while little is alive. The library leaves the collector to its host.
package main
