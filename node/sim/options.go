package sim

import "math/rand/v2"

// Options of one run. The zero value of a rate switches its fault off.
type Options struct {
	Seed    uint64
	Nodes   int
	Clients int
	Keys    int

	// LoadNanos is how long load and faults last, in virtual time. Then
	// faults stop and the cluster has SettleNanos to converge.
	LoadNanos   int64
	SettleNanos int64

	Loss      float64 // share of messages lost
	Duplicate float64 // share of messages delivered twice
	TailDelay float64 // share of messages that are delayed up to 100 times

	FaultNanos int64 // mean time between faults; zero: none
	Kill       bool  // kill -9 of a random subset
	Power      bool  // power loss of a random subset
	PowerAll   bool  // power loss of all nodes at once
	Partition  bool
	SlowDisk   bool
	FullDisk   bool
	Pause      bool // a process stands still, as under SIGSTOP

	// LyingDisk makes every sync a no-op: the falsification of all durability
	// checks, which must then fail.
	LyingDisk bool

	SegmentBytes int64
	TailBytes    int // of the log in memory
	AppendBytes  int // of one append message: 1 makes every entry travel alone
}

// Swarm draws options from a seed, each fault on or off, so that a run is not
// always a little of everything.
func Swarm(seed uint64) Options {
	r := stream(seed, streamOptions)
	o := Options{
		Seed:         seed,
		Nodes:        []int{3, 3, 3, 5, 1, 2, 4}[r.IntN(7)],
		Clients:      1 + r.IntN(8),
		Keys:         1 + r.IntN(6),
		LoadNanos:    int64(4+r.IntN(12)) * second,
		SettleNanos:  20 * second,
		Kill:         r.IntN(2) == 0,
		Power:        r.IntN(2) == 0,
		PowerAll:     r.IntN(3) == 0,
		Partition:    r.IntN(2) == 0,
		SlowDisk:     r.IntN(3) == 0,
		Pause:        r.IntN(3) == 0,
		FullDisk:     r.IntN(4) == 0,
		FaultNanos:   []int64{20, 50, 200, 500, 1000}[r.IntN(5)] * millisecond,
		SegmentBytes: []int64{32 << 10, 64 << 10, 256 << 10}[r.IntN(3)],
		TailBytes:    []int{1, 1 << 20}[r.IntN(2)],
		AppendBytes:  []int{1, 1 << 10, 64 << 10}[r.IntN(3)],
	}
	if r.IntN(2) == 0 {
		o.Loss = []float64{0.01, 0.05, 0.2}[r.IntN(3)]
	}
	if r.IntN(2) == 0 {
		o.Duplicate = 0.05
	}
	if r.IntN(2) == 0 {
		o.TailDelay = 0.02
	}
	return o
}

// The independent random streams of a seed: a draw added in one does not move
// the others.
const (
	streamOptions uint64 = iota + 1
	streamNetwork
	streamDisk
	streamFaults
	streamLoad
	streamNode
)

func stream(seed, which uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed, which*0x9e3779b97f4a7c15))
}

const (
	microsecond int64 = 1000
	millisecond       = 1000 * microsecond
	second            = 1000 * millisecond
)
