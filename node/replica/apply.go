package replica

import (
	"fmt"

	"github.com/dnode-engine/dnode/wire"
)

// apply gives committed entries to the state machine and answers the writes that
// they are: at most BatchBytes of entries and no more replies than fit into a
// batch, for a compare-and-set of 100 bytes may be answered with a value of 1 MiB.
func (r *Replica) apply() {
	commit := r.raft.Commit()
	for budget := r.cfg.BatchBytes; r.applied < commit; {
		if budget <= 0 || r.Full() {
			r.fx.More = true
			return
		}
		b := r.nextCommitted(commit, budget)
		if len(b) == 0 {
			return
		}
		budget -= len(b)
		for len(b) > 0 && r.applied < commit && !r.Full() {
			e, err := wire.ParseEntry(b)
			if err != nil || e.Index != r.applied+1 {
				r.fence(fmt.Errorf("cannot apply entry %d: found entry %d: %w", r.applied+1, e.Index, err))
				return
			}
			r.applyEntry(&e)
			b = b[e.Size:]
		}
		if len(r.fetched) > 0 {
			r.fetched = b
		}
		r.raft.Applied(r.applied)
	}
}

// nextCommitted returns encoded entries from applied+1 on: from what was read
// back, from memory, or nothing yet, after asking for it.
func (r *Replica) nextCommitted(commit wire.Index, maxBytes int) []byte {
	lo := r.applied + 1
	if len(r.fetched) > 0 {
		return r.fetched
	}
	if b := r.raft.Entries(lo, commit+1, maxBytes); len(b) > 0 {
		return b
	}
	if !r.fetching {
		r.fetching = true
		hi := min(commit+1, r.raft.Status().MemFirst)
		r.fx.Reads = append(r.fx.Reads, ReadRequest{Lo: lo, Hi: hi, MaxBytes: r.cfg.BatchBytes})
	}
	return nil
}

// takeFetched keeps what was read back of the committed entries that it was
// asked for. Nothing at or above hi may be used: those entries are in memory
// because the disk may still hold others in their place.
func (r *Replica) takeFetched(d *ReadDone) error {
	end := 0
	for next := d.Lo; next < d.Hi && end < len(d.Data); next++ {
		e, err := wire.ParseEntry(d.Data[end:])
		if err != nil || e.Index != next {
			return fmt.Errorf("entry %d read back as entry %d: %w", next, e.Index, err)
		}
		end += e.Size
	}
	if d.Lo != r.applied+1 || end == 0 {
		return fmt.Errorf("asked for entries from %d on, got %d bytes from %d on", r.applied+1, end, d.Lo)
	}
	r.fetched = d.Data[:end]
	return nil
}

func (r *Replica) applyEntry(e *wire.Entry) {
	r.applied = e.Index
	owed := r.writes.len() > 0 && r.writes.at(0).index == e.Index
	var w write
	if owed {
		w = r.writes.pop()
		r.owed -= int(w.bytes)
	}
	same := owed && w.term == e.Term
	switch e.Type {
	case wire.EntryCommand:
		_, command, err := e.Command()
		if err != nil {
			panic(fmt.Sprintf("BUG: committed entry %d: %v", e.Index, err))
		}
		if same {
			r.applyOwed(&w, command)
			return
		}
		r.result = r.sm.Apply(e.Index, command, r.result[:0])
	case wire.EntryConfig:
		if !r.founded && !r.Membership().Cluster.IsZero() {
			r.founded = true
			r.fx.Founded = true
		}
	case wire.EntryNoop:
	}
	if owed { // another leader's entry was committed in its place
		r.refuse(w.request(), r.leaderError())
	}
}

// applyOwed applies a command and answers the client that waits for it.
func (r *Replica) applyOwed(w *write, command []byte) {
	start := len(r.out)
	r.out = wire.BeginFrame(r.out, wire.FrameWriteReply, w.id)
	r.out = wire.AppendReplyHeader(r.out, w.index)
	r.out = r.sm.Apply(w.index, command, r.out)
	r.reply(w.request(), start, 0)
}
