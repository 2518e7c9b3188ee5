package main

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/dnode-engine/dnode/node/sim"
	"github.com/dnode-engine/dnode/wire"
)

// maxFound is how many seeds may fail before a farm gives up: what breaks so often
// is found again at once.
const maxFound = 10

// farm runs seeds on all cores, each in one goroutine. Below the lock is what they
// did together.
type farm struct {
	first, count uint64 // zero: as many as there is time for
	options      func(seed uint64) sim.Options

	mu    sync.Mutex
	taken uint64
	sum   sim.Stats
	terms []wire.Term // of each seed
	twice int         // seeds that were run again, for the same trace
	found []found
}

type found struct {
	seed uint64
	err  error
}

// work runs seeds until there are no more, or ctx ends.
func (f *farm) work(ctx context.Context) {
	for seed, ok := f.next(ctx); ok; seed, ok = f.next(ctx) {
		opt := f.options(seed)
		stats, err := sim.Run(opt)
		again := seed%100 == 0
		if again {
			if s, errAgain := sim.Run(opt); s != stats || (err == nil) != (errAgain == nil) {
				err = fmt.Errorf("seed %d: two runs differ: %v and %v\n%+v\n%+v", seed, err, errAgain, stats, s)
			}
		}
		f.done(seed, &stats, err, again)
	}
}

func (f *farm) next(ctx context.Context) (seed uint64, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ctx.Err() != nil || len(f.found) >= maxFound || f.count > 0 && f.taken == f.count {
		return 0, false
	}
	f.taken++
	return f.first + f.taken - 1, true
}

func (f *farm) done(seed uint64, stats *sim.Stats, err error, again bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sum.Add(stats)
	f.terms = append(f.terms, stats.Terms)
	if again {
		f.twice++
	}
	if err != nil {
		fmt.Printf("FOUND %v\n      again: go test ./node/sim -run '^TestSwarm$' -seed %d\n", err, seed)
		f.found = append(f.found, found{seed, err})
	}
}

// report is one line of what was done so far.
func (f *farm) report() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	slices.Sort(f.terms)
	median := wire.Term(0)
	if len(f.terms) > 0 {
		median = f.terms[len(f.terms)/2]
	}
	return fmt.Sprintf("%d seeds (%d twice), %.0f virtual s, %d events, %d terms (median %d a seed), %d faults, %d writes, %d reads, %d found",
		len(f.terms), f.twice, f.sum.VirtualSecs, f.sum.Events, f.sum.Terms, median, f.sum.Struck(), f.sum.Acked, f.sum.Reads, len(f.found))
}
