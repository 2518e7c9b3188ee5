// Package repolint holds the repository to its own rules: those that a
// compiler, go vet and staticcheck do not know. It reads the tree, changes
// nothing, and reports every violation at once.
//
//	rule        what must hold
//	top-level   only the agreed entries stand at the root; cmd holds only dnode
//	size        a Go file has at most 800 lines, no file more than 256 KiB, or 8 MiB
//	            below bench/results
//	binary      no file holds a zero byte, but for PNG charts below bench/results
//	later       no notes about work left for later in the text
//	path        no absolute path of somebody's machine, no module proxy by name
//	module      the root go.mod has no replace and no toolchain line, and calls exactly
//	            what is imported direct; there is no go.work
//	readme      README.md stays below 200 lines
//	imports     a package imports what its row of the table in imports.go allows
//	pure        the pure packages hold no goroutine, select, channel, map range,
//	            mutable package variable, and import only a few std packages
//	shape       functions have at most 70 lines and 4 parameters; no init functions
//	doc         packages and exported names are documented
//	test        tests neither sleep nor skip themselves
//
// Pure means: the outcome depends on the arguments only. The rules are held on
// our own source and, because a pure package may import only pure packages of
// ours, through all of it. Of client one file is pure, its decisions, and the
// simulator sees no other. Test files are free of the purity and size-of-function
// rules.
//
// # Decisions
//
// 2026-11-23: a std-only program in the main module, not a set of analyzers in
// a nested one. The rules need go/ast and one pass of go/types; golang.org/x/tools
// would add a driver and a dependency for no rule more.
//
// 2026-11-23: map ranges are judged by type, with export data from `go list
// -export`; a rule by syntax misses a named map type.
package repolint
