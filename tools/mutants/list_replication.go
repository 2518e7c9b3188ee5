package main

// replicationMutants break what is on how many disks.
var replicationMutants = []mutant{
	{
		name: "commit-old-term", class: "R1", by: "sim", breaks: "entries of older terms are committed by counting (figure 8)",
		edits: []edit{{replicateGo, `if i <= r.log.commit || i < r.termStart {`, `if i <= r.log.commit {`}},
	},
	{
		name: "sent-is-stored", class: "R4", by: "sim", breaks: "entries count for a peer when they were sent to it",
		edits: []edit{{quorumGo, `return uint64(p.match)`, `return uint64(max(p.match, p.next-1))`}},
	},
	{
		name: "leader-counts-unsynced", class: "R4", by: "sim", breaks: "a leader counts entries that its own disk does not have",
		edits: []edit{{raftGo, "			self.match = r.log.durable\n", "			self.match = r.log.last\n"}},
	},
	{
		name: "ack-unsynced", class: "R2", by: "sim", breaks: "a follower acknowledges what is not on its disk",
		edits: []edit{{followGo, `f.acked = min(r.log.durable, f.verified)`, `f.acked = f.verified`}},
	},
	{
		name: "ack-unverified", class: "own", by: "sim", breaks: "a follower acknowledges a stale suffix that happens to be durable",
		edits: []edit{{followGo, `f.acked = min(r.log.durable, f.verified)`, `f.acked = r.log.durable`}},
	},
	{
		name: "verified-outlives-term", class: "own", by: "sim", breaks: "what was verified against one leader counts for the next",
		edits: []edit{{raftGo, `		r.follow = followState{}
	}
	if r.role == Leader {`, `		r.follow.due = false
	}
	if r.role == Leader {`}},
	},
	{
		name: "prev-term-unchecked", class: "R6", by: "sim", breaks: "entries are appended behind an entry of another term",
		edits: []edit{{followGo, `fits: r.log.matches(m.Index, m.LogTerm)`, `fits: m.Index <= r.log.last`}},
	},
	{
		name: "repeat-truncates", class: "R7", by: "sim", breaks: "a repeated append removes what follows it",
		edits: []edit{{followGo, `if in.fresh == nil && !r.log.matches(e.Index, e.Term) {`, `if in.fresh == nil && e.Index > r.log.commit {`}},
	},
	{
		name: "conflict-kept", class: "R7", by: "sim", breaks: "an entry that conflicts is not replaced",
		edits: []edit{{followGo, `if in.fresh == nil && !r.log.matches(e.Index, e.Term) {`, `if in.fresh == nil && e.Index > r.log.last {`}},
	},
	{
		name: "commit-past-verified", class: "R8", by: "sim", breaks: "a follower commits past the last entry that an append verified",
		edits: []edit{{followGo, `r.commitTo(min(m.Commit, f.verified))`, `r.commitTo(min(m.Commit, r.log.last))`}},
	},
	{
		name: "round-commits-anything", class: "R8", by: "sim", breaks: "a heartbeat's commit index is bounded at neither end",
		edits: []edit{
			{readGo, `p.commitSent = min(r.log.commit, p.match)`, `p.commitSent = r.log.commit`},
			{followGo, `r.commitTo(min(m.Commit, r.follow.verified))`, `r.commitTo(min(m.Commit, r.log.last))`},
		},
	},
	{
		name: "old-append-taken", class: "R10", by: "sim", breaks: "appends of an older term are accepted",
		edits: []edit{{followGo, `	if m.Term < r.term {
		r.answerOldTerm(m)
		return nil
	}
	if err := r.checkLeader(m); err != nil {
		return err
	}
	in, err`, `	in, err`}},
	},
	{
		name: "old-reply-taken", class: "R9", by: "sim", breaks: "answers to an earlier term of this leader count in the present one",
		edits: []edit{{raftGo, `if m.Term < r.term || r.role != Leader {`, `if r.role != Leader {`}},
	},
	{
		name: "match-goes-back", class: "R9", by: "raft", breaks: "an acknowledgement that comes late takes back a newer one",
		edits: []edit{{replicateGo, `if m.Index > p.match {`, `if m.Index != p.match {`}},
	},
	{
		name: "batch-outlives-truncation", class: "R11", by: "raft", breaks: "the completion of a truncated entry counts for the one in its place (ABA)",
		edits: []edit{{logGo, `l.batches[i].last = min(l.batches[i].last, l.last)`, `_ = i`}},
	},
	{
		name: "completion-number-ignored", class: "R11", by: "sim", breaks: "a completion counts for all batches, later ones too",
		edits: []edit{{logGo, `for n < len(l.batches) && l.batches[n].seq <= seq {`, `for n < len(l.batches) {`}},
	},
	{
		name: "durable-outlives-truncation", class: "R11", by: "sim", breaks: "truncated entries stay durable, and so do those in their place",
		edits: []edit{{logGo, `	l.durable = min(l.durable, l.last)
`, ``}},
	},
	{
		name: "no-noop", class: "R1", by: "sim", breaks: "a new leader writes nothing in its term",
		edits: []edit{{raftGo, `r.uncommitted += r.log.propose(wire.EntryNoop, r.term, head, nil)`, `_ = head`}},
	},
	{
		name: "no-back-off", class: "own", by: "raft", breaks: "a refused append is repeated at the same place",
		edits: []edit{{replicateGo, `p.next = max(p.match+1, min(at+1, m.Index))`, `p.next = max(p.match+1, min(at+1, m.Index)+1)`}},
	},
	{
		name: "probe-not-repeated", class: "own", by: "sim", breaks: "a probe that was lost is never sent again",
		edits: []edit{{replicateGo, `		p.probing = false
		if p.state == Replicate`, `		if p.state == Replicate`}},
	},
	{
		name: "pipeline-not-asked", class: "own", by: "sim", breaks: "an append that was lost behind others is never noticed",
		edits: []edit{{replicateGo, `if p.state == Replicate && p.inflight.n > 0 && !p.moved {`, `if p.state == Replicate && p.inflight.n > 0 && !p.moved && false {`}},
	},
	{
		name: "restart-within-term", class: "own", by: "sim", breaks: "a follower that restarts within a term is not verified again",
		edits: []edit{{readGo, `if p.state == Replicate && m.Index < p.match && m.Round == r.rounds.last {`, `if false {`}},
	},
	{
		name: "disk-read-trusted", class: "own", by: "raft", breaks: "entries read back for a peer are sent unchecked",
		edits: []edit{{replicateGo, `have, ok := r.log.term(lo)
		if index != lo || !ok || have != term ||`, `_, ok := r.log.term(lo)
		if index != lo || !ok || term == 0 ||`}},
	},
	{
		name: "disk-read-too-late", class: "own", by: "raft", breaks: "entries read back are sent though the peer needs others by now",
		edits: []edit{{replicateGo, `	if lo == p.next {
		r.sendEntries(p, data, next)`, `	if lo > 0 {
		r.sendEntries(p, data, next)`}},
	},
	{
		name: "uncommitted-unbounded", class: "own", by: "raft", breaks: "proposals beyond the limit are appended",
		edits: []edit{{replicateGo, `r.uncommitted > 0 && r.uncommitted+n > r.cfg.MaxUncommittedBytes {`, `r.uncommitted < 0 && r.uncommitted+n > r.cfg.MaxUncommittedBytes {`}},
	},
	{
		name: "window-unbounded", class: "own", by: "raft", breaks: "bytes in flight to a peer have no bound",
		edits: []edit{{replicateGo, `min(r.cfg.MaxAppendBytes, r.cfg.MaxInflightBytes-p.inflight.bytes)`, `r.cfg.MaxAppendBytes`}},
	},
	{
		name: "waiting-unbounded", class: "own", by: "raft", breaks: "messages that wait for a hanging disk have no bound",
		edits: []edit{{raftGo, `} else if len(r.waiting) < maxWaiting {`, `} else if len(r.waiting) < 1<<30 {`}},
	},
	{
		name: "leader-unbounded", class: "own", by: "sim", breaks: "a leader whose own disk lags takes commands without end",
		edits: []edit{{replicateGo, `typ == wire.EntryCommand && r.crowded()`, `typ == wire.EntryCommand && r.crowded() && r.log.last == 0`}},
	},
	{
		name: "follower-unbounded", class: "own", by: "raft", breaks: "a follower whose disk hangs takes entries without bound",
		edits: []edit{{followGo, `if in.from > r.log.last && r.crowded() {`, `if in.from > r.log.last && r.crowded() && in.last == 0 {`}},
	},
	{
		name: "time-goes-back", class: "W12", by: "sim", breaks: "a new leader's first entry carries its own time, not at least the log's",
		edits: []edit{{raftGo, `max(r.stamp, r.log.time())`, `r.stamp`}},
	},
	{
		name: "match-outlives-term", class: "R9", by: "scope", breaks: "what a peer had when this node led before counts in its next term",
		edits: []edit{{progressGo, `p.match, p.next, p.commitSent = 0, last+1, 0`, `p.next, p.commitSent = last+1, 0`}},
	},
	{
		name: "uncommitted-outlives-term", class: "own", by: "scope", breaks: "what was uncommitted in an earlier term counts against the limit in the next",
		edits: []edit{
			{raftGo, `r.uncommitted = r.log.bytesAfter(r.log.commit)`, `r.uncommitted += r.log.bytesAfter(r.log.commit)`},
			{raftGo, `r.elapsed, r.uncommitted = 0, 0`, `r.elapsed = 0`},
		},
	},
	{
		name: "reading-outlives-term", class: "own", by: "raft", breaks: "a disk read that lost its leader keeps the peer waiting in the next term",
		edits: []edit{{progressGo, `p.active, p.moved, p.reading, p.acked = false, false, 0, 0`, `p.active, p.moved, p.acked = false, false, 0`}},
	},
	{
		name: "failed-read-blocks", class: "own", by: "raft", breaks: "a disk read that failed is never tried again",
		edits: []edit{{replicateGo, "	p.reading = 0\n	next, ok := r.ours(lo, data)\n	if err", "	next, ok := r.ours(lo, data)\n	if err == nil {\n		p.reading = 0\n	}\n	if err"}},
	},
	{
		name: "evict-undurable", class: "own", by: "raft", breaks: "applied entries leave memory before this node's disk has them",
		edits: []edit{{raftGo, `r.log.evict(min(r.log.durable, r.log.applied), r.cfg.TailBytes)`, `r.log.evict(r.log.applied, r.cfg.TailBytes)`}},
	},
	{
		name: "crowded-verifies", class: "R8", by: "raft", breaks: "entries that a full memory did not take count as verified",
		edits: []edit{{followGo, `in.last, in.fresh, in.configs = in.from-1, nil, nil`, `in.fresh, in.configs = nil, nil`}},
	},
	{
		name: "chunk-reused", class: "own", by: "raft", breaks: "bytes that were truncated are written over while others hold them",
		edits: []edit{{logGo, "		l.segs[n-1].end = int(l.offs[int(from)&(len(l.offs)-1)])\n", "		l.segs[n-1].end = int(l.offs[int(from)&(len(l.offs)-1)])\n		if sameChunk(l.segs[n-1].chunk, l.chunk) {\n			l.chunk = l.chunk[:l.segs[n-1].end]\n		}\n"}},
	},
}

// memberMutants break changes of the configuration.
var memberMutants = []mutant{
	{
		name: "change-before-commit", class: "M1", by: "raft", breaks: "voters change before the leader has committed in its term",
		edits: []edit{{memberGo, `	case r.log.commit < r.termStart:
		return next, ErrNotReady
`, ``}},
	},
	{
		name: "change-while-pending", class: "M1", by: "raft", breaks: "a change begins while another is uncommitted",
		edits: []edit{{memberGo, `if at > r.log.commit {`, `if at > r.log.last {`}},
	},
	{
		name: "change-without-joint", class: "M1", by: "raft", breaks: "voters change without a joint configuration",
		edits: []edit{{memberGo, `case len(cur.Outgoing) == 0 && len(next.Outgoing) == 0 && same:`, `case len(cur.Outgoing) == 0 && len(next.Outgoing) == 0 && (same || r.log.commit >= r.termStart):`}},
	},
	{
		name: "config-not-taken-back", class: "M2", by: "raft", breaks: "a truncated configuration stays in force",
		edits: []edit{{memberGo, `for n > 1 && r.configs[n-1].Index >= from {`, `for n > len(r.configs) {`}},
	},
	{
		name: "config-at-commit", class: "M2", by: "raft", breaks: "followers take up a configuration when it is committed, not when it is appended",
		edits: []edit{{followGo, `		r.adoptConfigs(in.configs)
`, `		if m.Commit >= in.last {
			r.adoptConfigs(in.configs)
		}
`}},
	},
	{
		name: "learner-counted", class: "M3", by: "raft", breaks: "learners count as voters",
		edits: []edit{{memberGo, `p.voter = mb.Role == wire.Voter`, `p.voter = true`}},
	},
	{
		name: "one-majority-of-two", class: "M1", by: "raft", breaks: "in a joint configuration the outgoing voters are not asked",
		edits: []edit{{quorumGo, `	if nOut > 0 {
		v = min(v, majority(out[:nOut]))
	}
`, `	_ = out[:nOut]
`}},
	},
	{
		name: "removed-leader-stays", class: "M4", by: "raft", breaks: "a leader goes on after its removal is committed",
		edits: []edit{{replicateGo, `		r.becomeFollower(r.term, 0) // removed, and that is committed: thesis 4.2.2
`, ``}},
	},
	{
		name: "configs-forgotten-early", class: "M2", by: "raft", breaks: "older configurations are forgotten when a newer one is durable, not when it is committed",
		edits: []edit{{memberGo, `r.configs[n+1].Index <= r.log.commit {`, `r.configs[n+1].Index <= r.log.durable {`}},
	},
	{
		name: "joint-left-for-others", class: "M1", by: "raft", breaks: "a joint configuration is left for other voters than its own",
		edits: []edit{{memberGo, `case len(cur.Outgoing) > 0 && len(next.Outgoing) == 0 && same:`, `case len(cur.Outgoing) > 0 && len(next.Outgoing) == 0:`}},
	},
	{
		name: "outgoing-strangers", class: "M1", by: "raft", breaks: "a joint configuration asks outgoing voters that were none",
		edits: []edit{{memberGo, `return n == len(next.Outgoing)`, `return n <= len(next.Outgoing)`}},
	},
}
