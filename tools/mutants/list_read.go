package main

const (
	requestGo = "node/replica/request.go"
	applyGo   = "node/replica/apply.go"
	replicaGo = "node/replica/replica.go"
	diskGo    = "node/disk/disk.go"
	storeGo   = "node/kv/store.go"
	kvReadGo  = "node/kv/read.go"
	heapGo    = "node/kv/heap.go"
)

// readMutants break what a read may return.
var readMutants = []mutant{
	{
		name: "read-before-noop", class: "C1", by: "sim", breaks: "reads are registered before the leader has committed in its term",
		edits: []edit{{readGo, `	if r.log.commit < r.termStart {
		return Read{}, ErrNotReady
	}
`, ``}},
	},
	{
		name: "read-without-round", class: "C2", by: "sim", breaks: "a leader answers reads without asking a quorum",
		edits: []edit{{requestGo, `confirmed := r.raft.Confirmed()`, `confirmed := ^uint64(0)`}},
	},
	{
		name: "read-before-applied", class: "C3", by: "sim", breaks: "a read is answered before its index is applied",
		edits: []edit{{requestGo, `if w.round > confirmed || w.index > r.applied {`, `if w.round > confirmed {`}},
	},
	{
		name: "read-two-behind", class: "C3", by: "sim", breaks: "a read is answered two entries before its index",
		edits: []edit{{requestGo, `w.index > r.applied {`, `w.index > r.applied+2 {`}},
	},
	{
		name: "reads-put-off", class: "own", by: "replica", breaks: "reads that wait for a round are moved on to every later one",
		edits: []edit{{requestGo, `for i := r.assigned; i < r.reads.len(); i++ {`, `for i := 0; i < r.reads.len(); i++ {`}},
	},
	{
		name: "round-reused", class: "C4", by: "raft", breaks: "a read is confirmed by the round that began before it",
		edits: []edit{{readGo, `Round: r.rounds.last + 1, Index`, `Round: r.rounds.last, Index`}},
	},
	{
		name: "old-answer-confirms", class: "C4", by: "raft", breaks: "the answer to a leader of an older term confirms a round of this one",
		edits: []edit{{followGo, `r.emit(wire.PeerMessage{Type: wire.FrameRoundReply, To: m.From})`, `r.emit(wire.PeerMessage{Type: wire.FrameRoundReply, To: m.From, Round: m.Round})`}},
	},
	{
		name: "match-confirms", class: "C4", by: "sim", breaks: "an acknowledged append confirms the newest round",
		edits: []edit{{replicateGo, "	p.active = true\n	if m.Reject {", "	p.active = true\n	p.acked = r.rounds.last\n	r.confirmRounds()\n	if m.Reject {"}},
	},
	{
		name: "lease-for-ever", class: "C5", by: "sim", breaks: "a lease does not end",
		edits: []edit{{requestGo, `return r.now < r.raft.LeaseUntil() &&`, `return r.raft.LeaseUntil() > 0 &&`}},
	},
	{
		name: "lease-twice-as-long", class: "C5", by: "sim", breaks: "a lease is as long as an election timeout may not be",
		edits: []edit{{readGo, `return r.rounds.sentAt[c%roundTimes] + r.cfg.LeaseNanos`, `return r.rounds.sentAt[c%roundTimes] + 2*r.cfg.LeaseNanos`}},
	},
	{
		name: "lease-from-reply", class: "C5", by: "sim", breaks: "a lease begins when its round is confirmed, not when it was sent",
		edits: []edit{{readGo, `r.rounds.confirmed = max(r.rounds.confirmed, r.quorumValue(roundOf))`, `if c := r.quorumValue(roundOf); c > r.rounds.confirmed {
		r.rounds.confirmed = c
		r.rounds.sentAt[c%roundTimes] = r.now
	}`}},
	},
	{
		name: "lease-ring-wraps", class: "C5", by: "raft", breaks: "a lease counts from a later round that took the place of its own",
		edits: []edit{{readGo, ` || r.rounds.last-c >= roundTimes {`, ` {`}},
	},
	{
		name: "lease-before-noop", class: "C1", by: "sim", breaks: "lease reads are answered before the first commit of the term",
		edits: []edit{{readGo, `r.cfg.LeaseNanos == 0 || r.log.commit < r.termStart ||`, `r.cfg.LeaseNanos == 0 ||`}},
	},
	{
		name: "lease-not-applied", class: "C3", by: "sim", breaks: "a lease read is answered from a state behind the commit index",
		edits: []edit{{requestGo, `return r.now < r.raft.LeaseUntil() && r.applied >= r.raft.Commit()`, `return r.now < r.raft.LeaseUntil()`}},
	},
	{
		name: "linearizable-by-lease", class: "C5", by: "replica", breaks: "linearizable reads are answered by lease",
		edits: []edit{{requestGo, `case level == wire.Lease && r.leaseHolds():`, `case r.leaseHolds():`}},
	},
	{
		name: "read-names-commit", class: "own", by: "sim", breaks: "a read names an index that its state has not reached",
		edits: []edit{{requestGo, `r.out = wire.AppendReplyHeader(r.out, r.applied)`, `r.out = wire.AppendReplyHeader(r.out, r.raft.Commit())`}},
	},
	{
		name: "reads-outlive-term", class: "C4", by: "sim", breaks: "reads that wait are kept when leadership is lost",
		edits: []edit{
			{replicaGo, "	r.leaderTerm = 0\n	r.dropReads()\n", "	r.leaderTerm = 0\n"},
			{requestGo, "func (r *Replica) serveReads() {\n	if r.leaderTerm == 0 {\n		r.dropReads()\n", "func (r *Replica) serveReads() {\n	if r.leaderTerm == 0 {\n"},
			{requestGo, "	if r.leaderTerm == 0 {\n		r.dropReads()\n		return\n	}\n	rd, err", "	if r.leaderTerm == 0 {\n		return\n	}\n	rd, err"},
		},
	},
	{
		name: "reads-kept-at-once", class: "C4", by: "sim", breaks: "reads are kept when one term led follows on another at once",
		edits: []edit{{replicaGo, "	r.leaderTerm = 0\n	r.dropReads()\n	if term != 0 {", "	if r.leaderTerm = 0; term == 0 {\n		r.dropReads()\n	}\n	if term != 0 {"}},
		equal: "a leader's next term begins with a vote that Effects hands to the disk, and every Effects of a member that does not lead drops its reads",
	},
	{
		name: "answers-outlive-term", class: "C4", by: "sim", breaks: "answers to rounds of an earlier term of this leader confirm those of the next",
		edits: []edit{{progressGo, `p.active, p.moved, p.reading, p.acked = false, false, 0, 0`, `p.active, p.moved, p.reading = false, false, 0`}},
	},
	{
		name: "read-at-applied", class: "C1", by: "raft", breaks: "a read names what is applied, not what is committed",
		edits: []edit{{readGo, `Round: r.rounds.last + 1, Index: r.log.commit}`, `Round: r.rounds.last + 1, Index: r.log.applied}`}},
	},
}

// replicaMutants break what clients are told of writes, and the way from commit to
// state and to the disk.
var replicaMutants = []mutant{
	{
		name: "reply-for-another", class: "C6", by: "sim", breaks: "a write is answered when another leader's entry takes its place",
		edits: []edit{{applyGo, `same := owed && w.term == e.Term`, `same := owed`}},
	},
	{
		name: "unknown-as-failed", class: "C8", by: "sim", breaks: "a write that was lost sight of is said not to have been carried out",
		edits: []edit{{requestGo, `&wire.Error{Code: wire.CodeUnknown, Text: why}`, `&wire.Error{Code: wire.CodeUnavailable, Text: why}`}},
	},
	{
		name: "unstored-is-failed", class: "C8", by: "sim", breaks: "at the loss of leadership writes that the own disk does not have count as failed",
		edits: []edit{{replicaGo, `	r.leaderTerm = 0
	r.dropReads()
	if term`, `	r.leaderTerm = 0
	for term == 0 && r.writes.len() > 0 && r.writes.at(r.writes.len()-1).index > r.raft.Status().Durable {
		w := r.writes.popBack()
		r.owed -= int(w.bytes)
		r.refuse(w.request(), r.leaderError())
	}
	r.dropReads()
	if term`}},
	},
	{
		name: "busy-for-ever", class: "own", by: "sim", breaks: "writes that were abandoned count against the bound of those that wait",
		edits: []edit{{requestGo, "		w := r.writes.popBack()\n		r.owed -= int(w.bytes)\n", "		w := r.writes.popBack()\n"}},
	},
	{
		name: "writes-outlive-log", class: "own", by: "replica", breaks: "writes beyond a new leader's log stay pending",
		edits: []edit{{replicaGo, `		r.abandonWrites(r.raft.Status().Last+1, "the entry was removed from the log of this node")
`, ``}},
	},
	{
		name: "busy-after-append", class: "own", by: "sim", breaks: "a write is refused as Busy after it was appended",
		edits: []edit{{requestGo, `	if r.owed > 0 && r.owed+q.size > r.cfg.Raft.MaxUncommittedBytes {
		r.refuse(q, &wire.Error{Code: wire.CodeBusy, RetryAfterMs: busyRetryMs, Text: "too many writes wait to be applied"})
		return
	}
	stamp.Time = r.time()
	head := wire.AppendStamp(r.stamp[:0], stamp)
	index, err := r.raft.Propose(wire.EntryCommand, head, command)
`, `	stamp.Time = r.time()
	head := wire.AppendStamp(r.stamp[:0], stamp)
	index, err := r.raft.Propose(wire.EntryCommand, head, command)
	if r.owed > 0 && r.owed+q.size > r.cfg.Raft.MaxUncommittedBytes {
		r.refuse(q, &wire.Error{Code: wire.CodeBusy, RetryAfterMs: busyRetryMs, Text: "too many writes wait to be applied"})
		return
	}
`}},
	},
	{
		name: "unapplied-unbounded", class: "own", by: "replica", breaks: "writes that wait to be applied have no bound",
		edits: []edit{{requestGo, `if r.owed > 0 && r.owed+q.size > r.cfg.Raft.MaxUncommittedBytes {`, `if r.owed < 0 && r.owed+q.size > r.cfg.Raft.MaxUncommittedBytes {`}},
	},
	{
		name: "reads-unbounded", class: "own", by: "replica", breaks: "reads that wait for a round have no bound",
		edits: []edit{{requestGo, `case r.reads.len() >= maxReads || r.queries.len()+len(query) > maxQueryBytes:`, `case r.reads.len() >= 1<<30:`}},
	},
	{
		name: "queries-never-freed", class: "own", by: "replica", breaks: "reads that were answered count against the bound of those that wait",
		edits: []edit{{requestGo, `	r.queries.popTo(w.at + uint64(w.size))
`, ``}},
	},
	{
		name: "replies-unbounded", class: "own", by: "replica", breaks: "the replies of one batch have no bound",
		edits: []edit{{replicaGo, `return len(r.out) > r.cfg.BatchBytes`, `return len(r.out) > 1<<30`}},
	},
	{
		name: "hash-forgets-deletes", class: "own", by: "kv", breaks: "the state hash does not change with a delete",
		edits: []edit{{storeGo, `	if ok {
		s.hash -= s.drop(r.slab, r.off)`, `	if ok {
		s.drop(r.slab, r.off)`}},
	},
	{
		name: "full-disk-takes-puts", class: "W6", by: "replica", breaks: "while the disk is full all writes are taken",
		edits: []edit{{requestGo, `if r.full && !frees {`, `if r.full && !frees && q.size < 0 {`}},
	},
	{
		name: "full-disk-leads", class: "W6", by: "replica", breaks: "a leader whose disk is full does not let another follow",
		edits: []edit{{replicaGo, `		r.raft.Resign()
`, ``}},
	},
	{
		name: "room-unnoticed", class: "W6", by: "replica", breaks: "a member that has room again leaves elections to others",
		edits: []edit{{replicaGo, `	r.raft.SetReluctant(full)
`, `	if full {
		r.raft.SetReluctant(true)
	}
`}},
	},
	{
		name: "time-of-own-clock", class: "W12", by: "sim", breaks: "the log's time leaps to a new leader's own clock",
		edits: []edit{{replicaGo, `r.timeBase, r.timeStart = r.raft.LastTime(), r.now`, `r.timeBase, r.timeStart = max(r.raft.LastTime(), uint64(r.now)), r.now`}},
	},
	{
		name: "time-counts-twice", class: "W12", by: "sim", breaks: "a leader adds the time since it led for the first time",
		edits: []edit{{replicaGo, `r.timeBase, r.timeStart = r.raft.LastTime(), r.now`, `if r.timeBase = r.raft.LastTime(); r.timeStart == 0 {
			r.timeStart = r.now
		}`}},
	},
	{
		name: "fenced-answers", class: "W5", by: "replica", breaks: "a member whose disk failed goes on",
		edits: []edit{{replicaGo, `	if c.Err != nil {
		r.fence(c.Err)
		return
	}
	if r.fenced == nil {`, `	if r.fenced == nil {`}},
	},
	{
		name: "fetch-beyond-memory", class: "own", by: "sim", breaks: "committed entries are read back from the disk though memory holds newer ones",
		edits: []edit{
			{applyGo, `hi := min(commit+1, r.raft.Status().MemFirst)`, `hi := commit + 1`},
		},
	},
	{
		name: "fetched-beyond-memory", class: "own", by: "sim", breaks: "of what was read back more is applied than was asked for",
		edits: []edit{{applyGo, `next < d.Hi && end < len(d.Data)`, `end < len(d.Data)`}},
	},
	{
		name: "rest-unsaid", class: "own", by: "replica", breaks: "nobody is told that entries are left to apply",
		edits: []edit{{applyGo, "			r.fx.More = true\n			return", "			return"}},
	},
	{
		name: "apply-unchecked", class: "C6", by: "sim", breaks: "a piece that was read back is applied once more",
		edits: []edit{
			{applyGo, `if err != nil || e.Index != r.applied+1 {`, `if err != nil {`},
			{applyGo, "		if len(r.fetched) > 0 {\n			r.fetched = b\n		}\n", ""},
		},
	},
	{
		name: "cas-ignores-state", class: "own", by: "sim", breaks: "a compare-and-set sets without comparing",
		edits: []edit{{storeGo, `if it, found := s.get(c.Key); !holds(c, &it, found) {`, `if it, found := s.get(c.Key); !holds(c, &it, found) && index == 0 {`}},
	},
	{
		name: "cas-by-prefix", class: "own", by: "sim", breaks: "a compare-and-set is content with a value that begins as expected",
		edits: []edit{{storeGo, `bytes.Equal(it.value(), c.Expected)`, `bytes.HasPrefix(it.value(), c.Expected)`}},
	},
	{
		name: "full-page-is-last", class: "own", by: "kv", breaks: "a page that its bytes end counts as the last",
		edits: []edit{{kvReadGo, "> wire.ScanPageBytes {\n		p.more = true\n", "> wire.ScanPageBytes {\n"}},
	},
	{
		name: "dead-head-kept", class: "own", by: "kv", breaks: "a slab whose items died before it was full is never released",
		edits: []edit{{heapGo, "		if s.dead == slabBytes {\n			h.release(old)\n		}\n", ""}},
	},
	{
		name: "first-vote-of-batch", class: "R2", by: "disk", breaks: "of several votes that wait for the disk the oldest is saved",
		edits: []edit{{diskGo, `for i := len(batches) - 1; i >= 0; i-- {`, `for i := range batches {`}},
	},
	{
		name: "vote-only-with-entries", class: "R3", by: "sim", breaks: "a vote is saved only if entries are, too",
		edits: []edit{{diskGo, `if batches[i].SaveVote {`, `if batches[i].SaveVote && len(batches[i].Append) > 0 {`}},
	},
	{
		name: "disk-error-forgotten", class: "W5", by: "disk", breaks: "after a failed write the disk is tried again",
		edits: []edit{{diskGo, `	if !wal.Passes(done.Err) {
		d.failed = done.Err
	}
`, ``}},
	},
	{
		name: "no-space-acked", class: "W6", by: "sim", breaks: "a write that found no room is acknowledged",
		edits: []edit{{diskGo, `	if err != nil {
		return fmt.Errorf("cannot append to log: %w", err)`, `	if err != nil && !wal.Passes(err) {
		return fmt.Errorf("cannot append to log: %w", err)`}},
	},
	{
		name: "vote-no-space-acked", class: "W6", by: "disk", breaks: "a vote that found no room counts as saved",
		edits: []edit{{diskGo, `if err := d.store.SaveVote(batches[i].Vote); err != nil {`, `if err := d.store.SaveVote(batches[i].Vote); err != nil && !wal.Passes(err) {`}},
	},
	{
		name: "sync-left-out", class: "W5", by: "sim", breaks: "entries are acknowledged after the write, without a sync",
		edits: []edit{{diskGo, `	err := d.store.Sync()
	if wal.Passes(err) {`, `	err := error(nil)
	if wal.Passes(err) {`}},
	},
	{
		name: "older-configs-lost", class: "M2", by: "disk", breaks: "after a restart the founding entry cannot be taken back",
		edits: []edit{{diskGo, `			st.Older = append(st.Older, replica.ConfigAt{Members: founders})
`, `			_ = founders
`}},
	},
}
