package sim

import (
	"strings"
	"testing"

	"github.com/dnode-engine/dnode/client"
	"github.com/dnode-engine/dnode/wire"
)

// A client that breaks one of the rules of client.Decide is caught.
func TestBrokenDecide(t *testing.T) {
	f := func(name string, options func(seed uint64) Options, broken func(a client.Attempt, d client.Decision) client.Decision) {
		t.Helper()
		for seed := uint64(1); seed <= 60; seed++ {
			c := New(options(seed))
			c.load.decide = func(a client.Attempt) client.Decision { return broken(a, client.Decide(a)) }
			if c.run(); c.err == nil {
				continue
			}
			if !strings.Contains(c.err.Error(), "exactness: ") {
				t.Errorf("%s: seed %d: found by another checker: %v", name, seed, c.err)
			}
			t.Logf("%s: seed %d: %v", name, seed, c.err)
			return
		}
		t.Errorf("%s: 60 seeds noticed nothing", name)
	}
	again := client.Decision{Action: client.RetryAway, Backoff: client.MinBackoff}
	f("sends a lost write again", lossy, func(a client.Attempt, d client.Decision) client.Decision {
		if a.Stage == client.StageLost && a.Left > 0 && !a.Final {
			return again
		}
		return d
	})
	f("sends a write of unknown outcome again", deaf, func(a client.Attempt, d client.Decision) client.Decision {
		if a.Stage == client.StageAnswered && d.Action == client.Unknown && a.Left > 0 && !a.Final {
			return again
		}
		return d
	})
	f("says that a lost write has failed", lossy, func(a client.Attempt, d client.Decision) client.Decision {
		if a.Stage == client.StageLost && d.Action == client.Unknown {
			d.Action = client.Fail
		}
		return d
	})
	f("says that a write has failed whose time was over", lossy, func(a client.Attempt, d client.Decision) client.Decision {
		if a.Stage == client.StageSent && d.Action == client.Unknown {
			d.Action = client.Fail
		}
		return d
	})
	f("says that a write of unknown outcome has failed", deaf, func(a client.Attempt, d client.Decision) client.Decision {
		if a.Stage == client.StageAnswered && d.Action == client.Unknown {
			d.Action = client.Fail
		}
		return d
	})
}

// lossy is hard on clients: leaders die and are cut off, connections break.
func lossy(seed uint64) Options {
	return Options{
		Seed: seed, Nodes: 3, Clients: 6, Keys: 4, Depth: 4,
		LoadNanos: 4 * second, SettleNanos: 20 * second,
		Streams: seed%2 == 0, QueueBytes: 8 << 20, TailDelay: 0.02, TailFactor: 1000,
		FaultNanos: 100 * millisecond, Kill: true, Partition: true, Flap: true, Hunt: 70,
		SegmentBytes: 64 << 10, TailBytes: 1 << 20, AppendBytes: 64 << 10,
		InflightBytes: 256 << 10, UncommittedBytes: 1 << 20,
		Reads: 20, ThinkNanos: 4 * millisecond, TimeoutNanos: second, ValueBytes: 64,
	}
}

// deaf makes leaders that do not learn what becomes of what they have sent, and
// clients that wait until they say so.
func deaf(seed uint64) Options {
	o := lossy(seed)
	o.Kill, o.Flap, o.TailDelay, o.Clients, o.Depth = false, false, 0, 3, 1
	o.LoadNanos, o.FaultNanos, o.TimeoutNanos = 12*second, 700*millisecond, 6*second
	o.Loyal = 100
	return o
}

// An answer to a get or a scan, at any level, that is wrong in one bit is caught.
func TestWrongAnswer(t *testing.T) {
	opt := lossy(1)
	opt.Mixed, opt.Scans, opt.Stales, opt.Leases = true, 50, 30, 30
	c := New(opt)
	if c.run(); c.err != nil {
		t.Fatal(c.err)
	}
	type kind struct {
		scan  bool
		level wire.Consistency
	}
	tried := map[kind]bool{}
	for i := range c.load.history {
		op := &c.load.history[i]
		of := kind{op.Scan, op.Level}
		if !op.Read || !op.Acked || len(op.Result) < 8 || tried[of] {
			continue
		}
		tried[of] = true
		at := len(op.Result) / 2
		op.Result[at] ^= 1
		if err := c.check.returned(op); err == nil || !strings.Contains(err.Error(), "linearizability") {
			t.Errorf("a wrong answer to %+v: %v", op, err)
		}
		op.Result[at] ^= 1
	}
	if len(tried) != 6 {
		t.Errorf("%d kinds of reads were answered, want gets and scans at three levels", len(tried))
	}
}
