package sim

import (
	"fmt"

	"github.com/dnode-engine/dnode/node/raft"
	"github.com/dnode-engine/dnode/node/replica"
	"github.com/dnode-engine/dnode/wire"
)

const (
	probeBytes    = 64 << 10 // of the first entries for a follower whose log is not known (raft: replicate.go)
	mostWaiting   = 1024     // messages that wait for the disk (raft: raft.go)
	mostReads     = 1 << 16  // reads that wait for a round (replica: replica.go)
	mostReadBytes = 16 << 20 // and their queries
	mostSpares    = 2        // prepared segments (wal: rotate.go)
	refusalBytes  = 256      // of an error, at most, in a run
	messageBytes  = wire.FrameHeaderBytes + wire.PeerHeaderBytes
	mostMessages  = mostWaiting + 128 + 64 // in a batch to one member: released, a full window, rounds and votes
)

// bound is a quantity of a node that must not grow further than so.
type bound struct {
	what      string
	have, may int
}

// bounds checks that every queue and table of a node is within its stated bound.
// Chunks of the log's memory may be half empty; a leader starts with what it holds.
func (k *checker) bounds(n *node, fx *replica.Effects, st *raft.Status) error {
	o, t := &n.c.opt, &k.nodes[n.index]
	p := n.rep.Pending()
	message := max(o.AppendBytes, k.largest)
	list := [...]bound{
		{"bytes of the log in memory", st.MemBytes, t.held + 2*(o.TailBytes+2*o.UncommittedBytes+2*message) + k.chunk(o)},
		{"messages that wait for the disk", st.Waiting, mostWaiting},
		{"reads that wait for a round", p.Reads, mostReads},
		{"bytes of queries that wait", p.ReadBytes, mostReadBytes},
		{"bytes of writes that wait for their answer", p.WriteBytes, max(o.UncommittedBytes, k.largest+messageBytes)},
		{"prepared segments", n.store.Log().Spares(), mostSpares},
		{"bytes of replies in a batch", replyBytes(fx), o.batchBytes() + largestReply(fx) + refusalBytes*(t.waiting+t.owing+len(t.asked))},
		{"bytes of uncommitted proposals", st.Uncommitted, max(o.UncommittedBytes, t.inherited, k.largest)},
	}
	for i := range list {
		if b := &list[i]; b.have > b.may {
			return fmt.Errorf("bounds: node %d has %d %s, at most %d are stated (%v, %d..%d in memory, durable %d, commit %d, applied %d)", n.id, b.have, b.what, b.may, st.Role, st.MemFirst, st.Last, st.Durable, st.Commit, n.rep.Applied())
		}
	}
	for pr := range n.rep.Raft().Progress {
		if most := o.InflightBytes + max(k.largest, min(o.AppendBytes, probeBytes)); pr.InflightBytes > most {
			return fmt.Errorf("bounds: node %d has %d bytes in flight to %d, at most %d are stated", n.id, pr.InflightBytes, pr.ID, most)
		}
	}
	for i := range fx.Peers {
		if most := o.InflightBytes + 2*max(message, probeBytes) + mostMessages*messageBytes; len(fx.Peers[i].Bytes) > most {
			return fmt.Errorf("bounds: node %d has %d bytes for %d in one batch, at most %d are stated", n.id, len(fx.Peers[i].Bytes), fx.Peers[i].To, most)
		}
	}
	return nil
}

// batchBytes is how many bytes of entries a node may apply in one batch.
func (o *Options) batchBytes() int {
	if o.BatchBytes == 0 {
		return 1 << 20
	}
	return o.BatchBytes
}

// chunk is the most that one chunk of the log's memory may waste or hold.
func (k *checker) chunk(o *Options) int {
	return 2 * max(k.largest, min(max(o.TailBytes/16, 512), 1<<20))
}

func replyBytes(fx *replica.Effects) int {
	sum := 0
	for i := range fx.Replies {
		sum += len(fx.Replies[i].Bytes)
	}
	return sum
}

func largestReply(fx *replica.Effects) int {
	most := 0
	for i := range fx.Replies {
		most = max(most, len(fx.Replies[i].Bytes))
	}
	return most
}

// appliedBytes checks that a batch applied no more than it may, unless the first
// entry alone is larger.
func (k *checker) appliedBytes(n *node, from, to wire.Index) error {
	sum := 0
	for i := from + 1; i <= to; i++ {
		sum += len(k.committed[i-1].raw)
	}
	if most := n.c.opt.batchBytes() + k.largest; sum > most {
		return fmt.Errorf("bounds: node %d has applied %d bytes in one batch, at most %d are stated", n.id, sum, most)
	}
	return nil
}
