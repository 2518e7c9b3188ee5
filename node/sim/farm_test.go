package sim

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	seedFlag   = flag.Uint64("seed", 0, "run only this seed, and tell what it did")
	logFlag    = flag.String("log", "", "with -seed: write the whole event log to this file")
	shrinkFlag = flag.Duration("shrink", 20*time.Second, "how long to make a failing seed smaller")
)

// seeds returns how many seeds a test runs, from 1 on: DNODETEST_SEEDS, or the
// default. For long runs there is tools/simfarm.
func seeds(t *testing.T, usual int) uint64 {
	s := os.Getenv("DNODETEST_SEEDS")
	if s == "" {
		return uint64(usual)
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("DNODETEST_SEEDS=%s is not a number of seeds", s)
	}
	return uint64(n)
}

type failure struct {
	seed  uint64
	stats Stats
	err   error
}

// shortly is the number of seeds in the short form, or the usual one.
func shortly(short, usual int) int {
	if testing.Short() {
		return short
	}
	return usual
}

// each runs seeds on all cores until one fails, or the one that was asked for.
func each(t *testing.T, usual int, options func(seed uint64) Options) Stats {
	t.Helper()
	if *seedFlag != 0 {
		stats, err := Run(options(*seedFlag))
		t.Logf("seed %d: %+v", *seedFlag, stats)
		if err != nil {
			explain(t, options(*seedFlag), failure{*seedFlag, stats, err})
		}
		return stats
	}
	var mu sync.Mutex
	var sum Stats
	var failed []failure
	next, count := uint64(0), seeds(t, usual)
	take := func() uint64 {
		mu.Lock()
		defer mu.Unlock()
		if len(failed) > 0 || next == count {
			return 0
		}
		next++
		return next
	}
	work := func() {
		for seed := take(); seed > 0; seed = take() {
			stats, err := Run(options(seed))
			mu.Lock()
			sum.Add(&stats)
			if err != nil {
				failed = append(failed, failure{seed, stats, err})
			}
			mu.Unlock()
		}
	}
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(work)
	}
	workers.Wait()
	t.Logf("%d seeds: %+v", next, sum)
	if len(failed) > 0 {
		slices.SortFunc(failed, func(a, b failure) int { return cmp.Compare(a.seed, b.seed) })
		explain(t, options(failed[0].seed), failed[0])
	}
	for what, count := range map[string]int{"elections": sum.Elections, "acknowledged writes": sum.Acked, "reads": sum.Reads} {
		if count == 0 {
			t.Errorf("no %s in any seed: the simulation tests nothing", what)
		}
	}
	return sum
}

// explain fails the test with all that helps to understand a seed: how to replay
// it, the fewest faults that are needed, and what led to the violation.
func explain(t *testing.T, opt Options, f failure) {
	t.Helper()
	t.Errorf("%v\nreplay: go test ./node/sim -run '^%s$' -seed %d\noptions: %+v\n%+v", f.err, t.Name(), f.seed, opt, f.stats)
	if end := time.Now().Add(*shrinkFlag); *shrinkFlag > 0 {
		small := Shrink(opt, func() bool { return time.Now().Before(end) })
		t.Log(small.String())
		if small.Err != nil {
			opt = small.Options
		}
	}
	if *seedFlag == 0 {
		return
	}
	lines := eventLog(opt)
	if *logFlag != "" {
		if err := os.WriteFile(*logFlag, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
			t.Error(err)
		}
		return
	}
	lines = lines[max(0, len(lines)-300):]
	t.Logf("the last %d lines of the event log (-log FILE writes it all):\n%s", len(lines), strings.Join(lines, "\n"))
}

func eventLog(opt Options) []string {
	var lines []string
	opt.Log = func(line string) { lines = append(lines, line) }
	_, err := Run(opt)
	return append(lines, fmt.Sprint(err))
}
