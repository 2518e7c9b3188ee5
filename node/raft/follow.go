package raft

import (
	"fmt"

	"github.com/dnode-engine/dnode/wire"
)

// followState is what a follower knows about its log and its leader. It is
// forgotten with the term, and with the role.
type followState struct {
	// Invariant: entries up to verified are those of this leader in this term,
	// and the commit index never moves past it. What lies behind it may be a
	// stale suffix, however durable.
	verified wire.Index
	// Invariant: acked <= min(durable, verified) was acknowledged to this leader.
	acked wire.Index
	// due asks the next Ready for an acknowledgement.
	due bool
}

// stepAppend takes entries from the leader: verifies all of them first, so that
// nonsense changes nothing.
func (r *Raft) stepAppend(m *wire.PeerMessage) error {
	if m.Term < r.term {
		r.answerOldTerm(m)
		return nil
	}
	if err := r.checkLeader(m); err != nil {
		return err
	}
	in, err := r.examine(m)
	if err != nil {
		return err
	}
	r.becomeFollower(m.Term, m.From)
	r.heardLeader()
	if !in.fits {
		hint, term := r.log.conflict(m.Index, m.LogTerm)
		r.emit(wire.PeerMessage{Type: wire.FrameAppendReply, To: m.From, Index: m.Index, Reject: true, Hint: hint, LogTerm: term})
		return nil
	}
	if in.from > r.log.last && r.crowded() {
		in.last, in.fresh, in.configs = in.from-1, nil, nil // they come again when more is on the disk
	}
	if len(in.fresh) > 0 {
		if in.from <= r.log.last {
			r.truncate(in.from)
		}
		r.log.appendEncoded(in.fresh)
		r.adoptConfigs(in.configs)
	}
	f := &r.follow
	if f.verified == 0 || len(in.fresh) == 0 {
		f.due = true // the leader waits for an answer, even if there is no news
	}
	f.verified = max(f.verified, in.last)
	r.durableGrew()
	r.commitTo(min(m.Commit, f.verified))
	return nil
}

// crowded reports whether the log leaves no memory for more entries before the
// disk has what is there. What it has, applied or not, can be read back. Nothing
// but this node's own disk is waited for: a leader may need the next entry to
// commit all those that are here.
func (r *Raft) crowded() bool {
	r.log.evict(r.log.durable, r.mostInMemory())
	return r.log.memBytes > r.mostInMemory() && r.log.durable < r.log.last
}

// mostInMemory is the memory of the log beyond which a node takes no more of it
// than it must. Who keeps the limits on what is in flight and uncommitted
// stays far below, however badly the entries fill the chunks.
func (r *Raft) mostInMemory() int {
	return r.cfg.TailBytes + 2*r.cfg.MaxUncommittedBytes + 2*r.cfg.MaxAppendBytes
}

// checkLeader refuses a second leader of one term, which cannot exist.
func (r *Raft) checkLeader(m *wire.PeerMessage) error {
	if m.Term == r.term && (r.role == Leader || r.leader != 0 && r.leader != m.From) {
		return fmt.Errorf("%w: %d leads term %d, and %d says it does", ErrNonsense, r.leader, r.term, m.From)
	}
	return nil
}

// incoming is an Append message, examined.
type incoming struct {
	fits    bool       // the entry before is in the log
	last    wire.Index // the message's last entry
	from    wire.Index // index of the first entry in fresh
	fresh   []byte     // the entries that the log does not have yet
	configs []ConfigAt // the configurations in fresh
}

// examine verifies every entry and finds the first that is new. An entry that
// is already there is skipped: a stale or repeated message truncates nothing.
func (r *Raft) examine(m *wire.PeerMessage) (incoming, error) {
	in := incoming{fits: r.log.matches(m.Index, m.LogTerm), last: m.Index}
	term := m.LogTerm
	if (m.Index == 0) != (term == 0) || term > m.Term {
		return in, fmt.Errorf("%w: entry before is %d of term %d in term %d", ErrNonsense, m.Index, term, m.Term)
	}
	for rest := m.Entries; len(rest) > 0; {
		e, err := wire.ParseEntry(rest)
		if err != nil {
			return in, fmt.Errorf("%w: cannot read entry %d: %w", ErrNonsense, in.last+1, err)
		}
		if e.Index != in.last+1 || e.Term < term || e.Term > m.Term {
			return in, fmt.Errorf("%w: entry %d of term %d after entry %d of term %d in term %d", ErrNonsense, e.Index, e.Term, in.last, term, m.Term)
		}
		in.last, term = e.Index, e.Term
		if in.fresh == nil && !r.log.matches(e.Index, e.Term) {
			if in.fits && e.Index <= r.settled(m.Term) {
				return in, fmt.Errorf("%w: entry %d of term %d contradicts one that is committed or came from the same leader", ErrNonsense, e.Index, e.Term)
			}
			in.from, in.fresh = e.Index, rest
		}
		if in.fresh != nil && e.Type == wire.EntryConfig {
			members, err := e.Membership()
			if err != nil {
				return in, fmt.Errorf("%w: cannot read entry %d: %w", ErrNonsense, e.Index, err)
			}
			in.configs = append(in.configs, ConfigAt{e.Index, members})
		}
		rest = rest[e.Size:]
	}
	return in, nil
}

// settled is up to where a leader of the term may not replace entries: what is
// committed, and what came from it before, for it only appends.
func (r *Raft) settled(term wire.Term) wire.Index {
	if term == r.term {
		return max(r.log.commit, r.follow.verified)
	}
	return r.log.commit
}

// durableGrew asks for an acknowledgement if there is more to acknowledge.
func (r *Raft) durableGrew() {
	ack := min(r.log.durable, r.follow.verified)
	if ack > r.follow.acked {
		r.follow.due = true
	}
	if t, _ := r.log.term(ack); r.abstain && ack > 0 && t == r.term {
		r.abstain = false
		r.voteChanged() // so that the slots no longer say it
	}
}

// acknowledge emits min(durable, verified), once for all appends of a batch.
func (r *Raft) acknowledge() {
	f := &r.follow
	if !f.due || r.role != Follower || r.leader == 0 {
		return
	}
	f.due = false
	f.acked = min(r.log.durable, f.verified)
	r.emit(wire.PeerMessage{Type: wire.FrameAppendReply, To: r.leader, Index: f.acked})
}

// stepRound answers a leader's round. The answer says "you lead this term" and
// nothing about the disk, so it needs none but the term's. Index says how far
// this node has verified its log: after a restart it may know less about itself
// than the leader does, and cannot follow the commit index then.
func (r *Raft) stepRound(m *wire.PeerMessage) error {
	if m.Term < r.term {
		r.answerOldTerm(m)
		return nil
	}
	if err := r.checkLeader(m); err != nil {
		return err
	}
	r.becomeFollower(m.Term, m.From)
	r.heardLeader()
	r.commitTo(min(m.Commit, r.follow.verified))
	r.emit(wire.PeerMessage{Type: wire.FrameRoundReply, To: m.From, Round: m.Round, Index: r.follow.verified})
	return nil
}

// answerOldTerm tells a leader of an older term that it was replaced. Without
// it a node that was left in a higher term could neither win (the others are
// sticky) nor follow (the leader's term is too low): it must unseat the leader.
// The answer names no round and no entry: if the sender leads this node's term
// by the time it arrives, it would be taken for one to a message of that term.
func (r *Raft) answerOldTerm(m *wire.PeerMessage) {
	if m.Type == wire.FrameAppend {
		r.emit(wire.PeerMessage{Type: wire.FrameAppendReply, To: m.From, Reject: true})
	} else {
		r.emit(wire.PeerMessage{Type: wire.FrameRoundReply, To: m.From})
	}
}

// commitTo advances a follower's commit index.
func (r *Raft) commitTo(i wire.Index) {
	if i > r.log.commit {
		r.log.commit = i
		r.forgetOldConfigs()
	}
}
