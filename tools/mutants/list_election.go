package main

const (
	raftGo      = "node/raft/raft.go"
	electionGo  = "node/raft/election.go"
	followGo    = "node/raft/follow.go"
	logGo       = "node/raft/log.go"
	replicateGo = "node/raft/replicate.go"
	readGo      = "node/raft/read.go"
	progressGo  = "node/raft/progress.go"
	quorumGo    = "node/raft/quorum.go"
	memberGo    = "node/raft/membership.go"
)

// electionMutants break who may lead.
var electionMutants = []mutant{
	{
		name: "vote-for-stale-log", class: "R5", by: "sim", breaks: "a vote is given whatever the candidate's log holds",
		edits: []edit{{electionGo, `free && r.mayVote() && r.log.upToDate(m.Index, m.LogTerm) {`, `free && r.mayVote() {`}},
	},
	{
		name: "log-length-alone", class: "R5", by: "sim", breaks: "logs are compared by their length, not first by the term of the last entry",
		edits: []edit{{logGo, `return term > mine || term == mine && last >= l.last`, `return term > mine && last >= l.last || term == mine && last >= l.last || last > l.last`}},
	},
	{
		name: "vote-twice", class: "R5", by: "sim", breaks: "a second candidate of the same term gets a vote too",
		edits: []edit{{electionGo, `free := r.vote == m.From || r.vote == 0 && r.leader == 0`, `free := true`}},
	},
	{
		name: "vote-not-cleared", class: "R5", by: "sim", breaks: "a vote is carried into the next term",
		edits: []edit{{raftGo, `r.setVote(term, 0)`, `r.setVote(term, r.vote)`}},
	},
	{
		name: "vote-not-saved", class: "R2", by: "sim", breaks: "term and vote are never handed to the disk",
		edits: []edit{{raftGo, `rd.SaveVote, r.voteDirty = r.voteDirty, false`, `rd.SaveVote, r.voteDirty = false, false`}},
	},
	{
		name: "words-before-vote", class: "R2", by: "sim", breaks: "messages leave before the term and vote they speak of are durable",
		edits: []edit{{raftGo, `if r.synced >= r.voteSeq {`, `if true {`}},
	},
	{
		name: "own-vote-early", class: "R2", by: "sim", breaks: "a sole voter leads before its vote is durable",
		edits: []edit{{electionGo, `	if r.soleVoter() {
		r.becomeCandidate()
		return`, `	if r.soleVoter() {
		r.becomeCandidate()
		r.becomeLeader()
		return`}},
	},
	{
		name: "silence-is-consent", class: "R5", by: "sim", breaks: "votes that did not come count as given",
		edits: []edit{{quorumGo, `return one(p.vote == granted)`, `return one(p.vote != refused)`}},
	},
	{
		name: "half-is-a-majority", class: "R1", by: "sim", breaks: "of an even number of voters half are a majority",
		edits: []edit{{quorumGo, `return values[n/2]`, `return values[(n-1)/2]`}},
	},
	{
		name: "higher-term-ignored", class: "R12", by: "sim", breaks: "a leader does not step down for a higher term",
		edits: []edit{{raftGo, "		if m.Term > r.term {\n			r.becomeFollower(m.Term, 0)\n		}\n		if m.Term < r.term || r.role != Leader {", "		if m.Term != r.term || r.role != Leader {"}},
	},
	{
		name: "old-leader-unanswered", class: "R14", by: "sim", breaks: "messages of an older term get no answer",
		edits: []edit{{followGo, `	if m.Type == wire.FrameAppend {`, `	if m.Term > 0 {
		return
	}
	if m.Type == wire.FrameAppend {`}},
	},
	{
		name: "check-quorum-off", class: "R15", by: "sim", breaks: "a leader that hears no majority goes on",
		edits: []edit{{raftGo, `if !r.quorumActive() {`, `if !r.quorumActive() && false {`}},
	},
	{
		name: "pre-vote-always", class: "R15", by: "raft", breaks: "pre-votes are granted while a leader is alive",
		edits: []edit{{electionGo, `if m.Term <= r.term || !r.mayVote() || !r.log.upToDate`, `if m.Term <= r.term || !r.log.upToDate`}},
	},
	{
		name: "pre-vote-hides-term", class: "R14", by: "raft", breaks: "a refused pre-vote does not tell the asker of the higher term",
		edits: []edit{{electionGo, `reply.Reject, reply.Term = true, r.term`, `reply.Reject, reply.Term = true, min(m.Term, r.term)`}},
	},
	{
		name: "no-random-timeout", class: "R13", by: "raft", breaks: "election timeouts are all the same",
		edits: []edit{{electionGo, `r.timeout = r.cfg.ElectionTicks + int(z%uint64(r.cfg.ElectionTicks))`, `r.timeout = r.cfg.ElectionTicks + int(z&0)`}},
	},
	{
		name: "timer-reset-by-refusal", class: "R13", by: "raft", breaks: "a vote that is refused puts off the own campaign",
		edits: []edit{{electionGo, "	reply := wire.PeerMessage{Type: wire.FrameVoteReply, To: m.From, Reject: true}\n", "	reply := wire.PeerMessage{Type: wire.FrameVoteReply, To: m.From, Reject: true}\n	r.elapsed = 0\n"}},
	},
	{
		name: "stickiness-off", class: "C5", by: "sim", breaks: "votes are given while a lease that this node confirmed may hold",
		edits: []edit{{electionGo, `return r.sinceLeader < r.cfg.ElectionTicks || r.everHeard && r.now < r.heard+r.promised()`, `return false`}},
	},
	{
		name: "stickiness-in-ticks", class: "C5", by: "raft", breaks: "a burst of ticks after a pause ends the promise behind a lease",
		edits: []edit{{electionGo, `return r.sinceLeader < r.cfg.ElectionTicks || r.everHeard && r.now < r.heard+r.promised()`, `return r.sinceLeader < r.cfg.ElectionTicks`}},
	},
	{
		name: "restart-not-silent", class: "own", by: "sim", breaks: "a restarted voter votes at once, though it may have confirmed a lease",
		edits: []edit{{raftGo, `r.restarted, r.silentTicks = true, cfg.ElectionTicks`, `r.restarted, r.silentTicks = false, 0`}},
	},
	{
		name: "abstention-ignored", class: "own", by: "raft", breaks: "a node that may have forgotten a vote votes",
		edits: []edit{{electionGo, `!r.silent() && !r.abstain && !r.diskStalled()`, `!r.silent() && !r.diskStalled()`}},
	},
	{
		name: "abstention-ends-early", class: "own", by: "raft", breaks: "abstention ends when an entry of the current leader is there, not when it is durable",
		edits: []edit{{followGo, `if t, _ := r.log.term(ack); r.abstain && ack > 0 && t == r.term {`, `if t, _ := r.log.term(r.follow.verified); r.abstain && r.follow.verified > 0 && t == r.term {`}},
	},
	{
		name: "hung-disk-leads", class: "W11", by: "raft", breaks: "a leader whose disk hangs goes on leading",
		edits: []edit{{raftGo, `if r.diskStalled() && !r.soleVoter() {`, `if r.diskStalled() && r.role != Leader {`}},
	},
	{
		name: "term-leaps", class: "own", by: "raft", breaks: "one message moves the term as far as it says",
		edits: []edit{{raftGo, `r.becomeFollower(r.term+maxLeap, 0)`, `r.becomeFollower(m.Term, 0)`}},
	},
	{
		name: "log-term-not-taken", class: "own", by: "raft", breaks: "a restart stays in a term before the log's",
		edits: []edit{{raftGo, `if t := r.log.lastTerm(); t > r.term {`, `if t := r.log.lastTerm(); t > r.term && r.abstain {`}},
	},
	{
		name: "sticky-in-own-term", class: "C5", by: "raft", breaks: "a node that is in the candidate's term already votes within a lease",
		edits: []edit{{electionGo, `free && r.mayVote() && r.log.upToDate(m.Index, m.LogTerm) {`, `free && r.log.upToDate(m.Index, m.LogTerm) {`}},
	},
	{
		name: "promise-ends-with-term", class: "C5", by: "raft", breaks: "a new term ends the promise behind a lease",
		edits: []edit{{raftGo, "		r.setVote(term, 0)\n		r.drawTimeout()\n", "		r.setVote(term, 0)\n		r.drawTimeout()\n		r.everHeard, r.sinceLeader = false, r.cfg.ElectionTicks\n"}},
	},
	{
		name: "old-vote-counted", class: "R9", by: "scope", breaks: "a vote of an earlier term counts in this one",
		edits: []edit{{electionGo, `m.Type == wire.FrameVoteReply && m.Term == r.term ||`, `m.Type == wire.FrameVoteReply ||`}},
	},
	{
		name: "promises-are-votes", class: "R5", by: "scope", breaks: "votes that were promised count as given",
		edits: []edit{{electionGo, "	r.setVote(r.term+1, r.cfg.ID)\n	r.clearVotes()\n", "	r.setVote(r.term+1, r.cfg.ID)\n"}},
	},
	{
		name: "waiting-leaves-early", class: "R2", by: "sim", breaks: "any batch that is durable lets all messages go that wait for a vote",
		edits: []edit{{raftGo, `for n < len(r.waiting) && r.waiting[n].seq <= seq {`, `for n < len(r.waiting) {`}},
	},
	{
		name: "reluctant-for-ever", class: "own", by: "raft", breaks: "a reluctant node does not campaign even if nobody else does",
		edits: []edit{{raftGo, `r.reluctance = 2 * r.cfg.ElectionTicks`, `r.reluctance = 1 << 30`}},
	},
}
