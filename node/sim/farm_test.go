package sim

import (
	"bufio"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/wire"
)

var (
	seedFlag   = flag.Uint64("seed", 0, "run only this seed, and tell what it did")
	logFlag    = flag.String("log", "", "with -seed: write the whole event log to this file")
	shrinkFlag = flag.Duration("shrink", 20*time.Second, "how long to make a failing seed smaller")
)

// plan says which seeds are run: so many from the first on, or as many as there is
// time for.
type plan struct {
	first, count uint64
	end          time.Time // zero: count decides
}

// planned reads the plan: DNODETEST_SIM is a time, for fresh seeds from a random
// base; DNODETEST_SEEDS is a number of seeds, from 1 on; else there are as many as
// usual.
func planned(t *testing.T, usual int) plan {
	if s := os.Getenv("DNODETEST_SIM"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatalf("DNODETEST_SIM=%s is not a time such as 60s", s)
		}
		base := rand.Uint64() >> 20
		t.Logf("fresh seeds from %d on, for %v", base, d)
		return plan{first: base, count: 1 << 40, end: time.Now().Add(d)}
	}
	return plan{first: 1, count: seeds(t, usual)}
}

// seeds returns how many seeds a test runs: DNODETEST_SEEDS, or the default.
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

// farm runs seeds on all cores, each run in one goroutine. Under the lock is what
// they did together.
type farm struct {
	plan    plan
	options func(seed uint64) Options

	mu     sync.Mutex
	taken  uint64
	sum    Stats
	terms  []wire.Term // of each seed
	twice  int         // seeds that were run again, for the same hash
	failed []failure
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

func (f *farm) next() (uint64, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.failed) > 0 || f.taken >= f.plan.count || !f.plan.end.IsZero() && time.Now().After(f.plan.end) {
		return 0, false
	}
	f.taken++
	return f.plan.first + f.taken - 1, true
}

func (f *farm) work() {
	for seed, ok := f.next(); ok; seed, ok = f.next() {
		stats, err := Run(f.options(seed))
		again := seed%100 == 0
		if again && err == nil {
			if s, _ := Run(f.options(seed)); s != stats {
				err = fmt.Errorf("seed %d at %.6f s: two runs differ:\n%+v\n%+v", seed, s.VirtualSecs, stats, s)
			}
		}
		f.done(seed, stats, err, again)
	}
}

func (f *farm) done(seed uint64, stats Stats, err error, again bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sum.add(stats)
	f.terms = append(f.terms, stats.Terms)
	if again {
		f.twice++
	}
	if err != nil {
		f.failed = append(f.failed, failure{seed, stats, err})
	}
}

// report is one line of what was done so far.
func (f *farm) report() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	slices.Sort(f.terms)
	median, faults := wire.Term(0), 0
	if len(f.terms) > 0 {
		median = f.terms[len(f.terms)/2]
	}
	for _, n := range f.sum.Faults {
		faults += n
	}
	return fmt.Sprintf("%d seeds (%d of them twice), %d events, %.0f virtual s, %d terms (median %d a seed), %d faults: %+v",
		len(f.terms), f.twice, f.sum.Events, f.sum.VirtualSecs, f.sum.Terms, median, faults, f.sum)
}

// each runs the planned seeds, or the one that was asked for.
func each(t *testing.T, usual int, options func(seed uint64) Options) Stats {
	if *seedFlag != 0 {
		stats, err := Run(options(*seedFlag))
		t.Logf("seed %d: %+v", *seedFlag, stats)
		if err != nil {
			explain(t, options(*seedFlag), failure{*seedFlag, stats, err})
		}
		return stats
	}
	f := farm{plan: planned(t, usual), options: options}
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(f.work)
	}
	ended := make(chan struct{})
	go func() { workers.Wait(); close(ended) }()
	for tell := time.NewTicker(20 * time.Second); ; {
		select {
		case <-tell.C:
			t.Log(f.report())
			continue
		case <-ended:
		}
		tell.Stop()
		break
	}
	t.Log(f.report())
	if len(f.failed) > 0 {
		first := slices.MinFunc(f.failed, func(a, b failure) int { return int(a.seed) - int(b.seed) })
		explain(t, options(first.seed), first)
	}
	for what, count := range map[string]int{"elections": f.sum.Elections, "acknowledged writes": f.sum.Acked, "reads": f.sum.Reads} {
		if count == 0 {
			t.Errorf("no %s in any seed: the simulation tests nothing", what)
		}
	}
	return f.sum
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

// String tells what is left, one fault a line.
func (s *Shrunk) String() string {
	if s.Err == nil {
		return fmt.Sprintf("not shrunk: its %d recorded faults do not bring it about again", s.Before)
	}
	var b strings.Builder
	w := bufio.NewWriter(&b)
	fmt.Fprintf(w, "shrunk in %d runs from %d faults to %d, with %d clients, without %s, to: %v\n", s.Runs, s.Before,
		len(s.Options.Faults), s.Options.Clients, strings.Join(s.Off, ", "), s.Err)
	for _, f := range s.Options.Faults {
		fmt.Fprintln(w, "  ", f)
	}
	if err := w.Flush(); err != nil {
		return err.Error()
	}
	return b.String()
}

// add adds all counters up. A hash is no counter.
func (s *Stats) add(o Stats) {
	s.Hash, o.Hash = 0, 0
	addAll(reflect.ValueOf(s).Elem(), reflect.ValueOf(o))
}

func addAll(to, from reflect.Value) {
	switch to.Kind() {
	case reflect.Struct:
		for i := range to.NumField() {
			addAll(to.Field(i), from.Field(i))
		}
	case reflect.Array:
		for i := range to.Len() {
			addAll(to.Index(i), from.Index(i))
		}
	case reflect.Float64:
		to.SetFloat(to.Float() + from.Float())
	case reflect.Uint64:
		to.SetUint(to.Uint() + from.Uint())
	default:
		to.SetInt(to.Int() + from.Int())
	}
}
