package sim

import "math/rand/v2"

// Options of one run. The zero value of a rate switches its fault off.
type Options struct {
	Seed    uint64
	Nodes   int
	Clients int
	Keys    int

	// Timers of every node; zero: those of the product.
	TickNanos                     int64
	ElectionTicks, HeartbeatTicks int
	LeaseNanos                    int64

	// LoadNanos is how long load and faults last, in virtual time. Then
	// faults stop and the cluster has SettleNanos to converge.
	LoadNanos   int64
	SettleNanos int64

	// Streams makes connections of the nodes' links, as the shell has them.
	// Otherwise they carry datagrams.
	Streams    bool
	Chop       int // share of writes, in percent, that arrive in pieces
	QueueBytes int // unsent bytes on a link at which it is cut

	Loss      float64 // share of messages lost; of writes to a stream that are sent again
	Duplicate float64 // share of messages delivered twice
	TailDelay float64 // share of messages that are delayed
	// TailFactor is how many times longer a delayed message takes at most.
	TailFactor int64
	Split      bool // as datagrams: the frames of a batch travel, and are lost, one by one

	FaultNanos int64 // mean time between faults; zero: none
	Kill       bool  // kill -9 of a random subset
	Power      bool  // power loss of a random subset
	PowerAll   bool  // power loss of all nodes at once
	Partition  bool
	SlowDisk   bool
	FullDisk   bool
	Disks      DiskFaults
	// Beyond lets the nemesis destroy the data of any number of nodes. The cluster
	// may then be unavailable, and is never wrong.
	Beyond bool
	Pause  bool // a process stands still, as under SIGSTOP
	// Hunt is the share of new leaders, in percent, that are cut off, stopped or
	// killed as soon as they are elected.
	Hunt int
	// Trap cuts a leader off at the moment when the only voters that may have
	// confirmed its lease are restarted.
	Trap bool
	// Strand leaves a candidate alone in its term when the faults are about to end.
	Strand bool
	// Flap loses links between nodes for a while, and tells the nodes.
	Flap bool
	// Suspend stops whole machines: what arrives meanwhile is lost.
	Suspend bool
	// Step lets clocks leap ahead. No lease holds then, but all else must.
	Step bool
	// Nonsense sends nodes messages that no correct member does.
	Nonsense bool
	// DriftPPM bounds how fast or slow a node's clock runs, in millionths.
	DriftPPM int64
	// BatchNanos is how long a node gathers events before it carries out their
	// effects; zero: each event is a batch.
	BatchNanos int64

	// Faults takes the place of the nemesis' own choices if Replay is set.
	Replay bool
	Faults []Fault

	Reads  int // share of reads among operations, in percent
	Leases int // share of lease reads among reads, in percent
	Stales int // share of stale reads among reads, in percent
	Scans  int // share of scans among reads, in percent
	Hot    int // share of operations, in percent, that all go to one key
	// Mixed adds batches over several keys and compare-and-sets with what was
	// read before to the writes.
	Mixed   bool
	Odd     int // share of requests, in percent, that are not about data or that no node can accept
	Readers int // share of clients that never write, in percent
	// Loyal is the share of clients, in percent, that go on asking a node that
	// does not answer.
	Loyal int
	// Roaming is how often, in percent, the other clients ask any node first.
	Roaming      int
	Depth        int   // operations that a client has in flight; zero: one
	ConnRequests int   // that a node grants each connection to have in flight; zero: the protocol's limit
	ConnBytes    int   // likewise, their bytes
	TimeoutNanos int64 // after which a client gives up waiting
	ThinkNanos   int64 // mean pause of a client between two operations
	ValueBytes   int   // of the largest values

	// Search judges the history once more, without the log as a witness. On one key
	// and with many operations at once that would take for ever.
	Search bool

	// LyingDisk makes every sync a no-op: the falsification of all durability
	// checks, which must then fail.
	LyingDisk bool

	// FrozenClock stands still while its node does, as a clock that does not count
	// suspend: the falsification of leases, which must then lie.
	FrozenClock bool

	// Log takes the readable event log, line by line; nil: nobody reads it.
	Log func(line string) `json:"-"`

	SegmentBytes int64
	TailBytes    int // of the log in memory
	AppendBytes  int // of one append message: 1 makes every entry travel alone
	// Limits of raft.Config; small ones make leaders refuse and wait.
	InflightBytes, UncommittedBytes int
	BatchBytes                      int // of replica.Config; small ones leave work for the next batch
}

// Swarm draws options from a seed, each fault on or off, so that a run is not
// always a little of everything.
func Swarm(seed uint64) Options {
	r := stream(seed, streamOptions)
	o := Options{
		Seed:         seed,
		Nodes:        []int{3, 3, 3, 3, 3, 5, 5, 5, 1, 2, 4, 6, 7}[r.IntN(13)],
		Clients:      1 + r.IntN(8),
		Keys:         1 + r.IntN(6),
		LoadNanos:    int64(20+r.IntN(12)) * second,
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
	o.drawDisks()
	o.clients(r)
	o.timing(r)
	o.network(stream(seed, streamNetwork<<8))
	o.timers(r)
	if r.IntN(2) == 0 {
		o.Loss = []float64{0.01, 0.05, 0.2}[r.IntN(3)]
	}
	if r.IntN(2) == 0 {
		o.Duplicate = 0.05
	}
	if r.IntN(2) == 0 {
		o.TailDelay = []float64{0.02, 0.2}[r.IntN(2)]
		o.TailFactor = []int64{100, 5000}[r.IntN(2)]
	}
	o.Strand = r.IntN(3) == 0
	if o.Streams { // where one byte waits all behind it do
		o.Loss, o.TailDelay = o.Loss/10, o.TailDelay/10
	}
	o.ThinkNanos *= int64(o.Depth)                 // deep queues make races, not load
	if o.BatchBytes == 1 || o.InflightBytes == 1 { // an entry at a time: else followers never keep up
		o.BatchNanos = min(o.BatchNanos, 200*microsecond)
	}
	o.Suspend = r.IntN(4) == 0
	o.Step = o.Leases == 0 && r.IntN(2) == 0
	o.thin(r)
	if o.Search = seed%8 == 0; o.Search {
		o.Keys, o.Depth, o.Mixed, o.Scans = o.Keys+4, 1, false, 0
	}
	return o
}

// timers draws how fast the nodes' clockwork runs, in the proportions that the
// product allows.
func (o *Options) timers(r *rand.Rand) {
	o.product()
	if r.IntN(3) == 0 {
		return
	}
	o.TickNanos = []int64{5, 10, 20}[r.IntN(3)] * millisecond
	o.ElectionTicks = 20 + r.IntN(41)
	o.HeartbeatTicks = 1 + r.IntN(o.ElectionTicks/5)
	o.LeaseNanos = o.electionNanos() * int64(30+r.IntN(51)) / 100
}

// product sets the timers that are not set to the product's.
func (o *Options) product() {
	if o.TickNanos == 0 {
		o.TickNanos, o.ElectionTicks, o.HeartbeatTicks, o.LeaseNanos = 10*millisecond, 50, 5, 400*millisecond
	}
}

func (o *Options) electionNanos() int64 { return int64(o.ElectionTicks) * o.TickNanos }

// network draws how bytes travel, and what is asked.
func (o *Options) network(r *rand.Rand) {
	o.Streams = r.IntN(3) > 0
	o.Chop = []int{0, 5, 60}[r.IntN(3)]
	o.QueueBytes = []int{2*o.InflightBytes + 128<<10, 8 << 20}[r.IntN(2)] // the shell wants as much
	o.Depth = []int{1, 1, 4, 16}[r.IntN(4)]
	o.ConnRequests = []int{0, 1, 3}[r.IntN(3)]
	o.ConnBytes = []int{0, max(64<<10, 8*o.ValueBytes)}[r.IntN(2)] // a batch has five values at most
	o.Mixed = r.IntN(2) == 0
	o.Stales = []int{0, 20}[r.IntN(2)]
	o.Scans = []int{0, 10, 50}[r.IntN(3)]
	o.Odd, o.Nonsense = []int{0, 1, 5}[r.IntN(3)], r.IntN(2) == 0
	o.Hot = []int{0, 0, 50}[r.IntN(3)]
	if r.IntN(4) == 0 {
		o.Keys = 100
	}
}

// clients draws how the load behaves.
func (o *Options) clients(r *rand.Rand) {
	o.Reads = []int{30, 30, 60}[r.IntN(3)]
	o.Leases = []int{0, 30, 80}[r.IntN(3)]
	o.Readers = []int{0, 30, 60}[r.IntN(3)]
	o.Loyal = []int{0, 50, 90}[r.IntN(3)]
	o.Roaming = []int{0, 30}[r.IntN(2)]
	o.TimeoutNanos = []int64{500, 500, 4000}[r.IntN(3)] * millisecond
	o.ThinkNanos = []int64{10, 30, 100}[r.IntN(3)] * millisecond
	o.ValueBytes = 256
	if o.SegmentBytes >= 256<<10 && r.IntN(4) == 0 {
		o.ValueBytes = 30 << 10
	}
	o.InflightBytes = []int{1, 16 << 10, 256 << 10}[r.IntN(3)]
	o.UncommittedBytes = []int{1 << 10, 1 << 20}[r.IntN(2)]
	o.BatchBytes = []int{1, 1 << 10, 1 << 20}[r.IntN(3)]
}

// timing draws when things happen within a node, and when the nemesis strikes.
func (o *Options) timing(r *rand.Rand) {
	o.BatchNanos = []int64{0, 0, 200 * microsecond, 5 * millisecond}[r.IntN(4)]
	o.DriftPPM = []int64{0, 50_000}[r.IntN(2)]
	o.Split = r.IntN(2) == 0
	o.Trap = r.IntN(3) == 0
	o.Flap = r.IntN(2) == 0
	if r.IntN(2) == 0 {
		o.Hunt = 70
	}
	if o.Trap { // nothing is caught but by those who ask on both sides
		o.Leases, o.Readers, o.Loyal, o.Roaming, o.ThinkNanos = 80, 50, 50, 30, 8*millisecond
		o.Clients = max(o.Clients, 6)
	}
}

// The independent random streams of a seed: a draw added in one does not move
// the others.
const (
	streamOptions uint64 = iota + 1
	streamNetwork
	streamDisk
	streamFaults
	streamLoad
	streamClock
	streamDiskFaults
)

func stream(seed, which uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed, which*0x9e3779b97f4a7c15))
}

const (
	microsecond int64 = 1000
	millisecond       = 1000 * microsecond
	second            = 1000 * millisecond
)
