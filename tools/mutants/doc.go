// Command mutants measures how much the tests can find: it plants one fault
// after the other in the shipped code and runs the check that has to find it.
//
//	go run ./tools/mutants                 all of them, each with its full budget
//	go run ./tools/mutants -list           one a line
//	go run ./tools/mutants -run 'lease|read'
//	go run ./tools/mutants -by sim -run vote    let another check try
//
// A mutant is a few exact pieces of source and what stands in their place
// (list_*.go). Nothing in shipped code knows of it: the go command is given the
// changed file with -overlay. The unmutated code runs first, with the same
// budget, and has to pass.
//
// # Reading the output
//
//	killed    vote-not-saved     sim      0.6 s  seed 1: durability: node 2 speaks in term 3, its disk ...
//	killed    stale-truncation   sim      1.2 s  assertion: BUG: truncating at 3 below commit index 8
//	killed    seal-before-sync   wal      2.0 s  TestOrderOfOperations: ...
//	survived  reads-kept         sim     60.0 s
//	equal     reads-kept         sim     60.0 s  why nothing can find it
//	error     ...
//
// The columns are the outcome, the mutant, the check, its CPU time, and what
// found it: in the simulator the seed and the first property that it violates,
// elsewhere the test. Killed means that a checker or a test said so, or that
// shipped code stopped at an assertion of its own ("BUG: ..."). Any other panic, a
// compile error, or time that runs out in a suite that ends by itself is an
// error: it shows a defect of the tool or of a test, not that the fault was
// understood. The exit code is 1 if a mutant survives that is not claimed to
// be equal, if one that is claimed to be equal is killed, and on any error.
//
// # Adding a mutant
//
// Append it to the list of its area: a name, what it breaks, the class of the
// fault, the check that shall find it and the edits. Each piece of source must
// stand exactly once in its file; the tests of this package apply and compile
// all of them, so that the list cannot rot in silence. Then run it alone. If it
// survives, either no test looks there (add what does), or nothing can be seen
// from outside, which is to be argued in the list; three such claims at most.
//
// Classes: R, C, M and W are the catalogue of faults known from other systems
// (replication and election, clients and reads, membership, storage); "own" is a
// rule or a format of this system.
//
// # Decisions
//
// 2026-11-23: pieces of source rather than line numbers or patches: they name
// what they change, survive edits elsewhere, and fail loudly when the code that
// they are about moves.
//
// 2026-11-23: CPU time is bounded by the operating system (ulimit -t), not by a
// flag of the tests: what is judged is then not asked to stop itself. A suite that
// never ends is told from one that hangs by what it is declared to be.
//
// 2026-11-23: seeds begin with 1 for every mutant. Random ones were rejected: a
// figure that nobody can reproduce says little.
package main
