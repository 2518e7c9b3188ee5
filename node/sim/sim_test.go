package sim

import (
	"flag"
	"os"
	"reflect"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
)

var seedFlag = flag.Uint64("seed", 0, "run only this seed, and print what it did")

// TestMain lets the garbage collector wait longer: a run makes much garbage and
// keeps little.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	os.Exit(m.Run())
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

// each runs a range of seeds, or the one that was asked for.
func each(t *testing.T, usual int, options func(seed uint64) Options) (sum Stats) {
	first, last := uint64(1), seeds(t, usual)
	if *seedFlag != 0 {
		first, last = *seedFlag, *seedFlag
	}
	for seed := first; seed <= last; seed++ {
		stats, err := Run(options(seed))
		if err != nil {
			t.Fatalf("%v\nreplay: go test ./node/sim -run '^%s$' -seed %d\noptions: %+v\n%+v", err, t.Name(), seed, options(seed), stats)
		}
		sum.add(stats)
	}
	t.Logf("%d seeds: %+v", last-first+1, sum)
	for what, count := range map[string]int{"elections": sum.Elections, "acknowledged writes": sum.Acked, "reads": sum.Reads} {
		if count == 0 {
			t.Errorf("no %s in any seed: the simulation tests nothing", what)
		}
	}
	return sum
}

// add sums all counters.
func (s *Stats) add(o Stats) {
	addTo(reflect.ValueOf(s).Elem(), reflect.ValueOf(o))
}

func addTo(to, v reflect.Value) {
	switch to.Kind() {
	case reflect.Struct:
		for i := range to.NumField() {
			addTo(to.Field(i), v.Field(i))
		}
	case reflect.Array:
		for i := range to.Len() {
			addTo(to.Index(i), v.Index(i))
		}
	case reflect.Int:
		to.SetInt(to.Int() + v.Int())
	case reflect.Uint64:
		to.SetUint(to.Uint() + v.Uint())
	case reflect.Float64:
		to.SetFloat(to.Float() + v.Float())
	}
}

func TestSwarm(t *testing.T) { each(t, 120, Swarm) }

// powerLoss is the plainest form of the promise: three replicas under load, all
// cut off from power at one moment, several times.
func powerLoss(seed uint64) Options {
	return Options{
		Seed: seed, Nodes: 3, Clients: 8, Keys: 4,
		LoadNanos: 4 * second, SettleNanos: 20 * second,
		FaultNanos: 250 * millisecond, PowerAll: true,
		SegmentBytes: 64 << 10, TailBytes: 1 << 20, AppendBytes: 64 << 10,
		InflightBytes: 256 << 10, UncommittedBytes: 1 << 20,
		Streams: seed%2 == 0, QueueBytes: 8 << 20,
		Reads: 30, ThinkNanos: 20 * millisecond, TimeoutNanos: 500 * millisecond, ValueBytes: 256,
	}
}

func TestPowerLossOfAll(t *testing.T) { each(t, 150, powerLoss) }

// TestPowerLossNeedsSync runs the same on disks whose sync does nothing: if that
// passes, the test above proves nothing.
func TestPowerLossNeedsSync(t *testing.T) {
	for seed := range uint64(20) {
		opt := powerLoss(seed + 1)
		opt.LyingDisk = true
		if _, err := Run(opt); err != nil {
			if !strings.Contains(err.Error(), "durability") && !strings.Contains(err.Error(), "is damaged") && !strings.Contains(err.Error(), "is missing") {
				t.Fatalf("found by another checker: %v", err)
			}
			return
		}
	}
	t.Fatal("20 seeds on disks that do not sync lost nothing")
}

func TestSameSeedSameRun(t *testing.T) {
	for seed := range uint64(5) {
		a, errA := Run(Swarm(seed + 1))
		b, errB := Run(Swarm(seed + 1))
		if a != b || (errA == nil) != (errB == nil) {
			t.Fatalf("seed %d:\n%+v\n%+v", seed+1, a, b)
		}
	}
}

// Events come in the order of their time, those of one time as they were made.
func TestHeapOrder(t *testing.T) {
	r := stream(1, streamClock)
	var h heap
	var made uint64
	now := int64(0)
	for range 20000 {
		for range r.IntN(4) {
			made++
			h.push(&event{at: now + r.Int64N(20), op: made})
		}
		if len(h.keys) == 0 {
			continue
		}
		for range r.IntN(4) {
			at, ok := h.next()
			if !ok {
				break
			}
			least := h.keys[0]
			for _, k := range h.keys {
				if k.before(&least) {
					least = k
				}
			}
			if e := h.pop(); e.at != at || e.at != least.at || e.op != least.seq || e.at < now {
				t.Fatalf("at %d came %+v, due was %+v", now, e, least)
			}
			now = at
		}
	}
}

// The list of faults that a run records replays it, event by event.
func TestRecordReplays(t *testing.T) {
	for seed := uint64(1); seed <= 8; seed++ {
		c := New(Swarm(seed))
		c.run()
		opt := Swarm(seed)
		opt.Replay, opt.Faults = true, c.record
		again := New(opt)
		again.run()
		if c.trace.hash != again.trace.hash || c.trace.faults != again.trace.faults || (c.err == nil) != (again.err == nil) {
			t.Errorf("seed %d: replayed, its %d faults give another run:\n%+v\n%+v", seed, len(c.record), c.stats, again.stats)
		}
	}
}
