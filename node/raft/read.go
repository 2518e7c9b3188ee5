package raft

import (
	"fmt"

	"github.com/dnode-engine/dnode/wire"
)

const (
	// maxRounds is how many rounds may be unconfirmed before reads wait for an
	// earlier one to be; a silent quorum makes no more than heartbeats.
	maxRounds = 32
	// roundTimes is how many sendings are remembered, for leases.
	roundTimes = 128
)

// rounds is a leader's counting of quorum rounds. Rounds are numbered within a
// term, and a term has one leader, so that an answer can never be taken for
// one to another round (C4).
type rounds struct {
	// Invariant: confirmed <= last; a quorum answered round confirmed after it began.
	last, confirmed uint64
	wanted          bool              // somebody waits for the next round
	beat            bool              // a heartbeat is due
	sentAt          [roundTimes]int64 // of round n at n % roundTimes
}

// ReadIndex registers a linearizable read with the round that the next Ready
// starts. Errors: ErrNotLeader, ErrNotReady.
func (r *Raft) ReadIndex() (Read, error) {
	if r.role != Leader {
		return Read{}, ErrNotLeader
	}
	if r.log.commit < r.termStart {
		return Read{}, ErrNotReady
	}
	r.rounds.wanted = true
	return Read{Term: r.term, Round: r.rounds.last + 1, Index: r.log.commit}, nil
}

// Confirmed returns the highest round of this term that a quorum confirmed.
func (r *Raft) Confirmed() uint64 {
	if r.role != Leader {
		return 0
	}
	return r.rounds.confirmed
}

// LeaseUntil returns when the lease ends on the clock of SetNow: LeaseNanos
// after the sending of the newest confirmed round. Zero: there is none.
func (r *Raft) LeaseUntil() int64 {
	c := r.rounds.confirmed
	if r.role != Leader || c == 0 || r.cfg.LeaseNanos == 0 || r.log.commit < r.termStart || r.rounds.last-c >= roundTimes {
		return 0
	}
	return r.rounds.sentAt[c%roundTimes] + r.cfg.LeaseNanos
}

// startRound begins one round for all reads that wait and the heartbeat.
func (r *Raft) startRound() {
	q := &r.rounds
	if !q.beat && (!q.wanted || q.last-q.confirmed >= maxRounds) {
		return
	}
	q.beat, q.wanted = false, false
	q.last++
	q.sentAt[q.last%roundTimes] = r.now
	for i := range r.peers {
		p := &r.peers[i]
		if p.id == r.cfg.ID {
			p.acked = q.last
			continue
		}
		// No more than what the peer is known to have: R8.
		p.commitSent = min(r.log.commit, p.match)
		r.emit(wire.PeerMessage{Type: wire.FrameRound, To: p.id, Commit: p.commitSent, Round: q.last})
	}
	r.confirmRounds()
}

func (r *Raft) stepRoundReply(m *wire.PeerMessage) error {
	p := r.find(m.From)
	if p == nil || p.id == r.cfg.ID {
		return nil
	}
	if m.Round > r.rounds.last {
		return fmt.Errorf("%w: member %d answers round %d, the last is %d", ErrNonsense, m.From, m.Round, r.rounds.last)
	}
	p.active = true
	p.acked = max(p.acked, m.Round)
	if p.state == Replicate && m.Index < p.match && m.Round == r.rounds.last {
		r.sendAt(p, nil) // it was restarted: an empty Append verifies its log
	}
	r.confirmRounds()
	return nil
}

func (r *Raft) confirmRounds() {
	r.rounds.confirmed = max(r.rounds.confirmed, r.quorumValue(roundOf))
}
