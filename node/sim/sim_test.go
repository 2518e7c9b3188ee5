package sim

import (
	"os"
	"runtime/debug"
	"strings"
	"testing"
)

// TestMain lets the garbage collector wait longer: a run makes much garbage and
// keeps little.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	os.Exit(m.Run())
}

func TestSwarm(t *testing.T) {
	sum := each(t, shortly(20, 80), Swarm)
	ran := seeds(t, shortly(20, 80))
	if *seedFlag != 0 || ran < 20 {
		return // perhaps too few
	}
	for m := range Moment(Moments) {
		t.Logf("%7d %v", sum.Moments[m], m)
	}
	if missed := sum.Missed(ran); len(missed) > 0 {
		t.Errorf("in %d seeds it never came to this: %v", ran, missed)
	}
	for what, count := range map[string]int{
		"streams cut into pieces": sum.Pieces, "lost suffixes": sum.LostSuffixes, "links lost": sum.LinksLost,
		"connections reset": sum.Resets, "requests whose connection was lost": sum.LostSent, "late answers": sum.Late,
		"replies without a connection": sum.Undelivered, "hints followed": sum.Followed, "requests sent again": sum.Retried,
		"writes of unknown outcome": sum.Unknown, "scans": sum.Scans, "stale reads": sum.Stales, "batches": sum.Batches,
	} {
		if count == 0 {
			t.Errorf("no %s in any seed", what)
		}
	}
}

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

func TestPowerLossOfAll(t *testing.T) { each(t, shortly(20, 60), powerLoss) }

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
	hashes := map[uint64]uint64{}
	for seed := range uint64(4) {
		a, errA := Run(Swarm(seed + 1))
		b, errB := Run(Swarm(seed + 1))
		if a != b || (errA == nil) != (errB == nil) {
			t.Fatalf("seed %d:\n%+v\n%+v", seed+1, a, b)
		}
		if was := hashes[a.Hash]; was != 0 {
			t.Fatalf("seeds %d and %d have the same hash", was, seed+1)
		}
		hashes[a.Hash] = seed + 1
	}
}

// Every swarm has faults for 20 virtual seconds, but for those that shall have
// few or none; sizes and timers vary, and stay in proportion.
func TestSwarmsDiffer(t *testing.T) {
	sizes, faults := map[int]int{}, map[int]int{}
	for seed := range uint64(2000) {
		o := Swarm(seed)
		sizes[o.Nodes]++
		on := 0
		for _, c := range classes() {
			if c.on(&o) {
				on++
			}
		}
		faults[min(on, 2)]++
		if o.LoadNanos < 20*second || 4*o.HeartbeatTicks > o.ElectionTicks || 5*o.LeaseNanos > 4*o.electionNanos() || o.LeaseNanos <= 0 {
			t.Fatalf("seed %d: %+v", seed, o)
		}
		if o.Step && o.Leases > 0 {
			t.Fatalf("seed %d steps clocks that leases rely on", seed)
		}
	}
	for size := 1; size <= 7; size++ {
		if sizes[size] == 0 {
			t.Errorf("no swarm of %d: %v", size, sizes)
		}
	}
	if sizes[3]+sizes[5] < 1000 || faults[0] < 50 || faults[1] < 200 || faults[2] < 1400 {
		t.Errorf("sizes %v, faults %v", sizes, faults)
	}
}

// TestFrozenClockLies cuts a leader off while it stands still for longer than an
// election takes. On a clock that does not count that time its lease must be seen to
// lie: else no swarm proves anything of leases. On a clock that does it refuses.
func TestFrozenClockLies(t *testing.T) {
	lies := 0
	for seed := uint64(1); seed <= 6; seed++ {
		opt := powerLoss(seed)
		opt.PowerAll, opt.Replay = false, true
		opt.Reads, opt.Leases, opt.Readers, opt.Roaming, opt.ThinkNanos, opt.Keys = 50, 90, 60, 50, 10*millisecond, 1
		for k := range 3 {
			cut := between(3, func(i int) bool { return i == k }, false)
			opt.Faults = []Fault{
				{At: 2 * second, Kind: FaultCut, Links: cut},
				{At: 2 * second, Kind: FaultPause, Node: k, Nanos: 1500 * millisecond},
			}
			opt.FrozenClock = false
			if _, err := Run(opt); err != nil {
				t.Fatal(err)
			}
			opt.FrozenClock = true
			_, err := Run(opt)
			if err != nil && !strings.Contains(err.Error(), "linearizability") {
				t.Fatalf("found by another checker: %v", err)
			}
			if err != nil {
				lies++
			}
		}
	}
	if lies < 3 {
		t.Fatalf("6 leaders on clocks that do not count pauses answered reads from the past %d times", lies)
	}
}

// A defect that is planted is found, replayed by its seed, and shrunk to fewer
// faults that still bring it about.
func TestShrink(t *testing.T) {
	var opt Options
	var err error
	for seed := uint64(1); seed <= 20 && (err == nil || !strings.Contains(err.Error(), "durability")); seed++ {
		opt = powerLoss(seed)
		opt.LyingDisk, opt.Kill, opt.Pause, opt.Partition, opt.Loss, opt.FaultNanos = true, true, true, true, 0.05, 100*millisecond
		_, err = Run(opt)
	}
	if _, again := Run(opt); err == nil || again == nil || again.Error() != err.Error() {
		t.Fatalf("on disks that do not sync: %v, and once more: %v", err, again)
	}
	tries := 0
	small := Shrink(opt, func() bool { tries++; return tries < 300 })
	_, still := Run(small.Options)
	if still == nil || small.Err == nil || !strings.Contains(still.Error(), small.Err.Error()) {
		t.Fatalf("shrunk, it fails with %v, not with %v", still, small.Err)
	}
	if n := len(small.Options.Faults); n == 0 || n > 2 || n >= small.Before || small.Options.Loss > 0 || small.Options.Clients > 2 {
		t.Errorf("%d faults are left of %d, loss %v, %d clients", n, small.Before, small.Options.Loss, small.Options.Clients)
	}
	t.Log(small.String())
	lines := strings.Join(eventLog(small.Options), "\n")
	for _, want := range []string{"FAULT", "power", "becomes leader", "stores batch", "Append term", "client 0 is told", "starts, for the 2. time", still.Error()} {
		if !strings.Contains(lines, want) {
			t.Errorf("the event log does not mention %q", want)
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
	for seed := uint64(1); seed <= 5; seed++ {
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

// A recorded list of faults runs with fewer clients, too: what struck the others is
// left out.
func TestReplayWithFewerClients(t *testing.T) {
	opt := Swarm(1)
	opt.Clients, opt.Replay = 2, true
	opt.Faults = []Fault{{At: second, Kind: FaultReset, To: 1}, {At: second, Kind: FaultReset, To: 2}}
	stats, err := Run(opt)
	if n := stats.Faults[FaultReset]; err != nil || n != 1 {
		t.Errorf("%d connections were reset: %v", n, err)
	}
}

// TestFounding strikes the first leaders, on a network so slow that the founding
// entry has reached nobody: another's takes its place, in the log and in force.
func TestFounding(t *testing.T) {
	sum := each(t, 8, func(seed uint64) Options {
		o := powerLoss(seed)
		o.PowerAll, o.FaultNanos, o.Hunt, o.LoadNanos = false, 0, 100, 3*second
		o.Streams, o.TailDelay, o.TailFactor, o.AppendBytes = false, 1, 1000, 1
		return o
	})
	if sum.Moments[FoundingReplaced] == 0 {
		t.Errorf("in no seed: %v", FoundingReplaced)
	}
}

// What had come to a node that stands still when the faults end comes to it then, and
// not when its pause would have ended.
func TestStoppedNodeGoesOn(t *testing.T) {
	for _, kind := range []FaultKind{FaultPause, FaultSuspend} {
		o := powerLoss(2)
		o.Replay, o.Faults = true, []Fault{{At: 3 * second, Kind: kind, Node: 1, Nanos: 60 * second}}
		c := New(o)
		for _, n := range c.nodes {
			n.start()
		}
		c.load.begin()
		c.replay()
		c.until(o.LoadNanos)
		c.calm()
		late := 0
		for _, k := range c.events.keys {
			if !c.events.slots[k.slot].late {
				continue
			}
			late++
			if k.at > c.now+millisecond {
				t.Fatalf("an event comes %d ms after the faults have ended", (k.at-c.now)/millisecond)
			}
		}
		if late == 0 || c.err != nil {
			t.Errorf("%d events were put off: %v", late, c.err)
		}
	}
}
