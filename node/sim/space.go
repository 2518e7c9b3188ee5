package sim

import (
	"errors"

	"github.com/dnode-engine/dnode/node/replica"
	"github.com/dnode-engine/dnode/wal"
)

const (
	retryNanos   = 300 * millisecond // between attempts to write to a full disk
	prepareTicks = 25                // between looks at the spare segments
)

// space is one node's dealing with a disk that may be full, as the shell does
// it.
type space struct {
	ticks   int
	crowded bool // a spare segment found no room
	stuck   bool // a write found none
	full    bool // as last told to the replica
}

// tickSpace prepares spare segments and tells the replica how things stand. It
// runs within a batch of events.
func (n *node) tickSpace() {
	s := &n.space
	if s.ticks++; !n.c.opt.FullDisk && !n.c.opt.Disks.Files || s.ticks%prepareTicks != 0 || n.hung || n.disk.Err() != nil {
		return
	}
	log := n.store.Log()
	for number, needed := log.NeedsSegment(); needed; number, needed = log.NeedsSegment() {
		err := wal.PrepareSegment(n.fs, n.logOptions(), number)
		s.crowded = errors.Is(err, wal.ErrNoSpace)
		if err != nil { // again a little later
			n.c.fail(n.mayFail(err))
			break
		}
		log.SegmentReady(number)
		if err := n.store.Err(); err != nil {
			n.failed(err)
			return
		}
	}
	n.tellSpace()
}

func (n *node) tellSpace() {
	if full := n.space.crowded || n.space.stuck; full != n.space.full {
		n.space.full = full
		n.rep.Space(full)
		if full {
			n.c.stats.FullDisks++
		} else {
			n.c.stats.Disk.Emptied++
		}
	}
}

// noRoom keeps a write that found no room, or no file, to try it again.
func (n *node) noRoom(done replica.Completion) bool {
	n.space.stuck = errors.Is(done.Err, wal.ErrNoSpace)
	n.tellSpace()
	if wal.Passes(done.Err) {
		n.later(retryNanos, event{kind: evStored})
		return true
	}
	return false
}

// fillDisk leaves a node's disk with little room, or gives it room again.
func (c *Cluster) fillDisk() {
	f := Fault{Kind: FaultQuota, Node: c.faults.IntN(len(c.nodes)), Value: -1}
	if c.faults.IntN(2) != 0 {
		f.Value = c.faults.Int64N(c.opt.SegmentBytes)
	}
	c.strike(f)
}

// limit leaves the node's disk with so much room; negative: with all it wants.
func (n *node) limit(room int64) {
	if room < 0 {
		n.fs.SetQuota(0)
		return
	}
	n.fs.SetQuota(n.fs.Used() + room)
}
