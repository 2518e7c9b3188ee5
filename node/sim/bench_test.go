package sim

import (
	"syscall"
	"testing"
	"time"
)

// cpuSeconds is what the process has used so far, its garbage collector included.
func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// steady is the load of the speed goal: three nodes, 40 operations a second,
// heartbeats every 50 ms and ticks every 10 ms, a fault now and then.
func steady(seed uint64) Options {
	o := powerLoss(seed)
	o.Clients, o.ThinkNanos = 5, 90*millisecond
	o.LoadNanos = 60 * second
	o.PowerAll, o.Kill, o.Power, o.Partition, o.Pause, o.FaultNanos = false, true, true, true, true, second
	return o
}

// BenchmarkSpeed reports how much virtual time a second of processor time simulates,
// with all checkers on.
func BenchmarkSpeed(b *testing.B) {
	var sum Stats
	begin := cpuSeconds(b)
	for i := range b.N {
		stats, err := Run(steady(uint64(i + 1)))
		if err != nil {
			b.Fatal(err)
		}
		sum.Add(&stats)
	}
	cpu := cpuSeconds(b) - begin
	b.ReportMetric(sum.VirtualSecs/cpu, "virtual-s/cpu-s")
	b.ReportMetric(float64(sum.Events)/cpu, "events/cpu-s")
	b.ReportMetric(float64(sum.Acked+sum.Reads)/sum.VirtualSecs, "ops/virtual-s")
}
