package sim

import "github.com/dnode-engine/dnode/wire"

// Stats counts what a run did, so that a quiet simulator cannot pass for a
// correct cluster.
type Stats struct {
	Events       uint64
	Hash         uint64          // of every event and every effect, in order
	Terms        wire.Term       // highest term reached
	Elections    int             // leaders elected
	Acked        int             // writes answered
	Reads        int             // reads answered
	Scans        int             // of these, scans
	Stales       int             // of these, at stale level
	Batches      int             // writes answered that were several commands
	Unknown      int             // writes whose outcome the client does not know
	Refused      int             // requests certainly not carried out
	Faults       [FaultKinds]int // carried out, by kind
	TornWrites   int             // crashes in the middle of a write to the log
	FullDisks    int
	Disk         DiskStats
	Hunts        int // leaders struck as soon as they were elected
	Traps        int
	Sent         int // requests, however often
	Retried      int // requests sent again after a wait
	Followed     int // hints followed
	LostSent     int // requests whose connection was lost after they were sent
	Late         int // answers that nobody waited for any more
	Undelivered  int // replies to connections that were gone
	Resets       int // connections broken on their way
	LostSuffixes int // streams that ended before all had arrived
	Pieces       int // cuts of what was written into pieces
	LinksLost    int // a node noticed that its link was gone
	LinksFull    int // a link's queue was full
	Superseded   int // entries replaced in some log
	Moments      [Moments]int
	Committed    wire.Index
	VirtualSecs  float64
}

// Add adds all counters of another run. A hash is no counter: the sum has none.
func (s *Stats) Add(o *Stats) {
	s.Hash = 0
	s.Events += o.Events
	s.Terms += o.Terms
	s.Committed += o.Committed
	s.VirtualSecs += o.VirtualSecs
	theirs := o.counters()
	for i, n := range s.counters() {
		*n += *theirs[i]
	}
}

func (s *Stats) counters() []*int {
	all := []*int{
		&s.Elections, &s.Acked, &s.Reads, &s.Scans, &s.Stales, &s.Batches, &s.Unknown, &s.Refused,
		&s.TornWrites, &s.FullDisks, &s.Hunts, &s.Traps, &s.Sent, &s.Retried, &s.Followed, &s.LostSent,
		&s.Late, &s.Undelivered, &s.Resets, &s.LostSuffixes, &s.Pieces, &s.LinksLost, &s.LinksFull,
		&s.Superseded,
		&s.Disk.Emptied, &s.Disk.Fenced, &s.Disk.FailedStarts, &s.Disk.RefusedByName, &s.Disk.PastCache,
		&s.Disk.Abstained, &s.Disk.TornCut, &s.Disk.Unreadable,
	}
	for i := range s.Faults {
		all = append(all, &s.Faults[i])
	}
	for i := range s.Moments {
		all = append(all, &s.Moments[i])
	}
	return all
}

// Struck is how many faults of all kinds there were.
func (s *Stats) Struck() int {
	sum := 0
	for _, n := range s.Faults {
		sum += n
	}
	return sum
}

// Missed returns the moments that so many seeds should have come upon and did not:
// some come in each few tens of seeds, the rare ones in a few thousand.
func (s *Stats) Missed(seeds uint64) []Moment {
	var missed []Moment
	for m := range Moment(Moments) {
		if s.Moments[m] == 0 && seeds >= m.seeds() {
			missed = append(missed, m)
		}
	}
	return missed
}
