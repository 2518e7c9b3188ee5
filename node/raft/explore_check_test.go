package raft

import (
	"fmt"

	"github.com/dnode-engine/dnode/wire"
)

// check looks at a state after an event at node at.
func (x *explorer) check(w *world, at int) string {
	lo := &x.nodes[w.nodes[at]]
	r := lo.n.core
	if r != nil {
		if f := x.checkCommit(w, lo); f != "" {
			return f
		}
		if r.role == Leader {
			if l := w.mem.leaders[r.term]; l != 0 && l != lo.n.id {
				return fmt.Sprintf("election safety: %d and %d lead term %d", l, lo.n.id, r.term)
			}
			w.mem.leaders[r.term] = lo.n.id
		}
	}
	if w.mem.reader == lo.n.id {
		if f := checkRead(w, r); f != "" {
			return f
		}
	}
	for i := range w.nodes {
		if i == at {
			continue
		}
		other := &x.nodes[w.nodes[i]]
		for _, a := range [][]wire.Term{lo.mem, lo.disk} {
			if !matching(a, other.mem) || !matching(a, other.disk) {
				return fmt.Sprintf("log matching: %d has %v and %v, %d has %v and %v", lo.n.id, lo.mem, lo.disk, other.n.id, other.mem, other.disk)
			}
		}
	}
	return x.checkCommitted(w)
}

// matching: logs with an equal index and term are equal up to it.
func matching(a, b []wire.Term) bool {
	k := min(len(a), len(b)) - 1
	for k >= 0 && a[k] != b[k] {
		k--
	}
	for ; k >= 0; k-- {
		if a[k] != b[k] {
			return false
		}
	}
	return true
}

// checkCommit: what a node takes for committed is what others do.
func (x *explorer) checkCommit(w *world, lo *local) string {
	m := &w.mem
	for k, t := range lo.mem[:lo.n.core.log.commit] {
		if k == int(m.commits) {
			m.committed[k] = commitAt{t, lo.n.core.term}
			m.commits++
		}
		if m.committed[k].term != t {
			return fmt.Sprintf("state machine safety: %d commits %d/t%d, it was t%d", lo.n.id, k+1, t, m.committed[k].term)
		}
	}
	return ""
}

// checkCommitted: a committed entry is on the disks of a majority, and in the
// log of every leader of a later term than the one that committed it.
func (x *explorer) checkCommitted(w *world) string {
	m := &w.mem
	for k, c := range m.committed[:m.commits] {
		disks := 0
		for i := range w.nodes {
			lo := &x.nodes[w.nodes[i]]
			if k < len(lo.disk) && lo.disk[k] == c.term {
				disks++
			}
			r := lo.n.core
			if r != nil && r.role == Leader && r.term > c.by && (k >= len(lo.mem) || lo.mem[k] != c.term) {
				return fmt.Sprintf("leader completeness: %d leads term %d without %d/t%d, committed in term %d", lo.n.id, r.term, k+1, c.term, c.by)
			}
		}
		if disks < 2 {
			return fmt.Sprintf("durability: %d/t%d, committed in term %d, is on %d disks", k+1, c.term, c.by, disks)
		}
	}
	return ""
}

// checkRead: a confirmed read sees all that was committed when it came.
func checkRead(w *world, r *Raft) string {
	m := &w.mem
	switch {
	case r == nil || r.role != Leader || r.term != m.read.Term:
		m.reader = 0 // nobody waits for it any more
	case r.Confirmed() >= m.read.Round:
		if int(m.read.Index) < int(m.floor) {
			return fmt.Sprintf("read: confirmed at %d, %d entries were committed", m.read.Index, m.floor)
		}
		m.reader = 0
	}
	if m.reader == 0 {
		m.read, m.floor = Read{}, 0
	}
	return ""
}

// checkAcknowledged: what a node acknowledges in a term is what the leader of
// that term has, as long as it is there to be asked.
func (x *explorer) checkAcknowledged(w *world, m *wire.PeerMessage) string {
	if m.Type != wire.FrameAppendReply || m.Reject {
		return ""
	}
	from, to := &x.nodes[w.nodes[m.From-1]], &x.nodes[w.nodes[m.To-1]]
	if r := to.n.core; r == nil || r.role != Leader || r.term != m.Term {
		return ""
	}
	for i := range int(m.Index) {
		if i >= len(to.mem) || i >= len(from.disk) || from.disk[i] != to.mem[i] {
			return fmt.Sprintf("acknowledgement: %s with %v on the disk, the leader has %v", describe(m), from.disk, to.mem)
		}
	}
	return ""
}
