package raft

import "github.com/dnode-engine/dnode/wire"

// maxInflight is how many Append messages to one peer may be unacknowledged.
const maxInflight = 128

// ballot is a member's answer in the current election.
type ballot uint8

const (
	pending ballot = iota
	granted
	refused
)

// peer is what the core knows about one member of the configuration, itself
// included. The replication fields mean something on a leader only.
//
//	        accepted at next-1
//	Probe ────────────────────► Replicate
//	  ▲ ◄────────────────────────── │
//	  │    refused, link lost       │ next is no longer in the log
//	  └────────── Snapshot ◄────────┘ (from either)
type peer struct {
	id       wire.NodeID
	voter    bool // counts in the incoming (or only) majority
	outgoing bool // counts in the outgoing majority of a joint configuration
	vote     ballot
	active   bool // heard from since the last check of the quorum

	state PeerState
	// Invariant: match < next. Entries up to match are on the peer's disk and
	// equal ours; match never decreases in a term. Entries before next were
	// sent, or are believed to be there.
	match, next wire.Index
	commitSent  wire.Index // highest commit index told
	probing     bool       // Probe: a message is out, wait
	probe       sent       // that message
	moved       bool       // an acknowledgement advanced match since the last heartbeat
	reading     wire.Index // first entry of the disk read under way, 0 none

	// Invariant: acked is the highest round of this term that the peer
	// answered. An answer to a round was given after every earlier round
	// began, and so confirms those too.
	acked uint64

	inflight window // Replicate only
}

func (p *peer) reset(last wire.Index) {
	p.match, p.next, p.commitSent = 0, last+1, 0
	p.active, p.moved, p.reading, p.acked = false, false, 0, 0
	p.becomeProbe()
}

func (p *peer) becomeProbe() {
	p.state = Probe
	p.probing = false
	p.inflight.clear()
}

// becomeReplicate begins to pipeline. What a probe carries that is still out is
// not sent again; if it was lost, the next message is refused.
func (p *peer) becomeReplicate() {
	p.state = Replicate
	p.next = p.match + 1
	p.inflight.clear()
	if p.probing && p.probe.last > p.match {
		p.next = p.probe.last + 1
		p.inflight.add(p.probe.last, p.probe.size)
	}
	p.probing = false
}

// window is the Append messages that a peer has not acknowledged, oldest first.
type window struct {
	// Invariant: bytes is the sum of size over the n messages from head on.
	sent  []sent // a ring of maxInflight, made when first used
	head  int
	n     int
	bytes int
}

type sent struct {
	last wire.Index
	size int
}

func (w *window) clear() { w.head, w.n, w.bytes = 0, 0, 0 }

func (w *window) full() bool { return w.n == maxInflight }

func (w *window) add(last wire.Index, size int) {
	if w.sent == nil {
		w.sent = make([]sent, maxInflight)
	}
	w.sent[(w.head+w.n)%maxInflight] = sent{last, size}
	w.n++
	w.bytes += size
}

// free removes the messages that end at or before index i.
func (w *window) free(i wire.Index) {
	for w.n > 0 && w.sent[w.head].last <= i {
		w.bytes -= w.sent[w.head].size
		w.head = (w.head + 1) % maxInflight
		w.n--
	}
}
