package raft

import "github.com/dnode-engine/dnode/wire"

// elections is the part of the core that decides who leads.
type elections struct {
	timeout int // ticks, drawn anew for each election
	// Invariant: elapsed counts ticks since the last event that may put off a
	// campaign: word from the current leader, a vote granted, a campaign. A
	// leader counts to its next check of the quorum with it.
	elapsed int
	// reluctance is added to timeout: others are to campaign first.
	reluctance int

	// sinceLeader and heard say when a live leader was last heard, in whatever
	// term: stickiness outlives a change of term, because the lease that this
	// node's answer confirmed does.
	sinceLeader int
	heard       int64
	everHeard   bool

	restarted   bool // silent for one election timeout
	silentTicks int  // left of that
	abstain     bool // a vote may be forgotten: never vote before a current leader's entry is on the disk
}

// drawTimeout draws the next election timeout from [E, 2E), with splitmix64.
func (r *Raft) drawTimeout() {
	r.rand += 0x9e3779b97f4a7c15
	z := r.rand
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	z ^= z >> 31
	r.timeout = r.cfg.ElectionTicks + int(z%uint64(r.cfg.ElectionTicks))
}

// heardLeader notes a valid message of the current leader.
func (r *Raft) heardLeader() {
	r.elapsed, r.sinceLeader = 0, 0
	r.heard, r.everHeard = r.now, true
}

// sticky reports whether this node must not help to replace a leader that may
// be alive, and may hold a lease that this node confirmed. Ticks may come in
// bursts after a pause, so the clock has a say as well.
func (r *Raft) sticky() bool {
	if r.role == Leader {
		return true
	}
	return r.sinceLeader < r.cfg.ElectionTicks || r.everHeard && r.now < r.heard+r.promised()
}

// promised is how long this node's answers bind it on its own clock: a quarter
// longer than the lease they confirm, since the leader's clock may be slower.
func (r *Raft) promised() int64 { return r.cfg.LeaseNanos + r.cfg.LeaseNanos/4 }

// silent reports whether this node was restarted less than an election timeout
// ago: before that it may have confirmed a lease that it does not know of.
func (r *Raft) silent() bool {
	return r.restarted && (r.silentTicks > 0 || r.started >= 0 && r.now < r.started+r.promised())
}

// mayVote reports whether this node may take part in an election at all.
func (r *Raft) mayVote() bool {
	return !r.sticky() && !r.silent() && !r.abstain && !r.diskStalled()
}

// campaign starts an election: a sole voter's at once, others ask first.
func (r *Raft) campaign() {
	if r.role == Leader || r.term >= maxTerm || !r.mayVote() || !r.mayLead() {
		return
	}
	if r.soleVoter() {
		r.becomeCandidate()
		return
	}
	r.role, r.leader = PreCandidate, 0
	r.follow = followState{}
	r.elapsed = 0
	r.drawTimeout()
	r.clearVotes()
	if self := r.find(r.cfg.ID); self != nil {
		self.vote = granted
	}
	r.askVotes()
}

// becomeCandidate enters the next term and votes for itself. The vote counts,
// and the requests leave, when it is durable.
func (r *Raft) becomeCandidate() {
	r.role, r.leader = Candidate, 0
	r.follow = followState{}
	r.elapsed = 0
	r.drawTimeout()
	r.setVote(r.term+1, r.cfg.ID)
	r.clearVotes()
	r.askVotes()
}

func (r *Raft) clearVotes() {
	for i := range r.peers {
		r.peers[i].vote = pending
	}
}

// askVotes asks every voter that has not answered.
func (r *Raft) askVotes() {
	m := wire.PeerMessage{Type: wire.FrameVote, Term: r.term, Index: r.log.last, LogTerm: r.log.lastTerm()}
	if r.role == PreCandidate {
		m.Type, m.Term = wire.FramePreVote, r.term+1
	}
	for i := range r.peers {
		p := &r.peers[i]
		if p.id != r.cfg.ID && (p.voter || p.outgoing) && p.vote == pending {
			m.To = p.id
			r.emit(m)
		}
	}
}

// resendVotes repeats, once in a heartbeat interval, what may have been lost.
func (r *Raft) resendVotes() {
	if r.role == Follower || r.synced < r.voteSeq || r.elapsed%r.cfg.HeartbeatTicks != 0 {
		return
	}
	r.askVotes()
}

// countOwnVote counts this node's vote for itself once it is on the disk.
func (r *Raft) countOwnVote() {
	self := r.find(r.cfg.ID)
	if self != nil && self.vote == pending && r.synced >= r.voteSeq {
		self.vote = granted
		r.tally()
	}
}

// tally acts on the votes counted so far.
func (r *Raft) tally() {
	switch {
	case r.quorumValue(grantedOf) == 1:
		if r.role == PreCandidate {
			r.becomeCandidate()
		} else {
			r.becomeLeader()
		}
	case r.quorumValue(notRefusedOf) == 0:
		r.becomeFollower(r.term, 0) // lost; the timer goes on
	}
}

// stepPreVote answers whether this node would vote for the sender. It changes
// nothing, so it may be answered from any state. A refusal carries this node's
// term, so that a sender behind it catches up.
func (r *Raft) stepPreVote(m *wire.PeerMessage) {
	reply := wire.PeerMessage{Type: wire.FramePreVoteReply, To: m.From, Term: m.Term}
	if m.Term <= r.term || !r.mayVote() || !r.log.upToDate(m.Index, m.LogTerm) {
		reply.Reject, reply.Term = true, r.term
		if r.term == 0 {
			return
		}
	}
	r.emit(reply)
}

// stepVote answers a request of a real election. While this node may not vote
// it does not take up the candidate's term either: that would make it refuse a
// leader that is alive.
func (r *Raft) stepVote(m *wire.PeerMessage) {
	if m.Term > r.term {
		if !r.mayVote() {
			return
		}
		r.becomeFollower(m.Term, 0)
	}
	reply := wire.PeerMessage{Type: wire.FrameVoteReply, To: m.From, Reject: true}
	free := r.vote == m.From || r.vote == 0 && r.leader == 0
	if m.Term == r.term && free && r.mayVote() && r.log.upToDate(m.Index, m.LogTerm) {
		if r.vote == 0 {
			r.setVote(r.term, m.From)
		}
		r.elapsed = 0
		reply.Reject = false
	}
	r.emit(reply)
}

// stepVoteReply counts an answer to this election; others are stale.
func (r *Raft) stepVoteReply(m *wire.PeerMessage) {
	promise := m.Type == wire.FramePreVoteReply && !m.Reject // of a term that nobody is in yet
	if m.Term > r.term && !promise {
		r.becomeFollower(m.Term, 0)
		return
	}
	asked := r.role == Candidate && m.Type == wire.FrameVoteReply && m.Term == r.term ||
		r.role == PreCandidate && m.Type == wire.FramePreVoteReply &&
			(promise && m.Term == r.term+1 || m.Reject && m.Term == r.term)
	p := r.find(m.From)
	if !asked || p == nil || p.vote == granted {
		return
	}
	p.vote = granted
	if m.Reject {
		p.vote = refused
	}
	r.tally()
}

// quorumActive reports whether a quorum was heard since the last check, and
// begins the next.
func (r *Raft) quorumActive() bool {
	if self := r.find(r.cfg.ID); self != nil {
		self.active = true
	}
	ok := r.quorumValue(activeOf) == 1
	for i := range r.peers {
		r.peers[i].active = false
	}
	return ok
}
