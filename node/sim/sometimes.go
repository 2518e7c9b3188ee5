package sim

import (
	"slices"

	"github.com/dnode-engine/dnode/node/replica"
	"github.com/dnode-engine/dnode/wire"
)

// Moment is something that a long run must come upon at least once. A simulator
// that never does has not tried what it is there to try. All are noticed from
// outside: by messages, effects and statuses.
type Moment uint8

// The moments.
const (
	SuffixSuperseded    Moment = iota // a log's end was replaced
	TornGroupCut                      // recovery cut a group that a crash had left in part
	CorruptionRefused                 // a node with a damaged log refused to start
	VoteAbstained                     // a node with a damaged vote was asked for one
	FencedBySync                      // a failed sync fenced a node
	LeaseExpiredInPause               // a leader came back from a pause without its lease, and was asked
	LeaseReadServed                   // a lease was good for a read
	ReadBeforeCommit                  // a read came before the first commit of the term
	ReadRoundRepeated                 // a round that a read waits for was lost, a later one confirms it
	ReadsDropped                      // leadership was lost with reads waiting
	OldTailAtElection                 // a leader was elected with uncommitted entries of earlier terms
	CommitInOldTerm                   // an entry was committed by a later term's leader
	StickyRefusal                     // a pre-vote was refused for a live leader's sake
	SilentRefusal                     // a vote or pre-vote was refused after a restart
	QuorumStepDown                    // a leader that heard no majority gave up
	StalledStepDown                   // a leader whose disk hung gave up
	LeftBehind                        // a leader was told that its term is over
	NoSpaceEntered                    // a disk became full
	NoSpaceLeft                       // and had room again
	NoSpaceRefusal                    // a write was refused for want of room
	BusyRefusal                       // a write was refused before it was appended
	UnknownOutcome                    // a client was told that its write's outcome is unknown
	ReplacedWrite                     // a client was told that another entry took its write's place
	ConflictBackOff                   // a follower's log did not match, and the leader looked further back
	ReadForFollower                   // entries for a slow follower were read from the disk
	ReadForApply                      // and committed ones, to be applied
	Ephemeral                         // a leader was superseded before it committed anything
	StaleCompletion                   // a disk finished an entry that the log no longer held
	FoundingReplaced                  // the founding entry was replaced by another's
	SingleVoter                       // a cluster of one answered a write
	EvenCluster                       // a cluster of an even number did
	AllDown                           // no node was running
	LeaderLost                        // a leader crashed
	ClockStep                         // a clock leapt ahead
	StaleReadServed                   // any member answered from what it had
	Moments             int    = iota
)

func (m Moment) String() string {
	return [Moments]string{
		SuffixSuperseded: "suffix superseded", TornGroupCut: "torn group cut", CorruptionRefused: "corruption refused",
		VoteAbstained: "vote abstained", FencedBySync: "fenced by a failed sync",
		LeaseExpiredInPause: "lease expired in a pause", LeaseReadServed: "lease read served",
		ReadBeforeCommit: "read waited for the first commit", ReadRoundRepeated: "read round repeated",
		ReadsDropped: "reads dropped with leadership", OldTailAtElection: "old-term tail at election",
		CommitInOldTerm: "entry committed by a later term", StickyRefusal: "pre-vote refused by stickiness",
		SilentRefusal: "vote refused after a restart", QuorumStepDown: "check-quorum step-down",
		StalledStepDown: "step-down for a hanging disk", LeftBehind: "leader of an old term corrected",
		NoSpaceEntered: "disk full", NoSpaceLeft: "disk no longer full", NoSpaceRefusal: "write refused for want of room",
		BusyRefusal: "busy before append", UnknownOutcome: "unknown outcome at leadership loss",
		ReplacedWrite: "write replaced by another's", ConflictBackOff: "conflict back-off",
		ReadForFollower: "entries read for a slow follower", ReadForApply: "entries read to be applied",
		Ephemeral: "leader superseded before its first commit", StaleCompletion: "completion for a superseded entry",
		FoundingReplaced: "founding entry replaced", SingleVoter: "single voter", EvenCluster: "even cluster",
		AllDown: "all nodes down at once", LeaderLost: "leader crashed", ClockStep: "clock jump", StaleReadServed: "stale read served",
	}[m]
}

// seeds is how many seeds come upon the moment at least once.
func (m Moment) seeds() uint64 {
	switch m {
	case TornGroupCut, CorruptionRefused, VoteAbstained, FencedBySync, LeaseExpiredInPause,
		StalledStepDown, NoSpaceEntered, NoSpaceLeft, NoSpaceRefusal, ReplacedWrite,
		Ephemeral, StaleCompletion, FoundingReplaced:
		return 5000
	default:
		return 20
	}
}

// saw counts a moment.
func (c *Cluster) saw(m Moment) { c.stats.Moments[m]++ }

// counted takes over the moments that are counted elsewhere.
func (c *Cluster) counted() {
	s, m := &c.stats, &c.stats.Moments
	m[TornGroupCut], m[CorruptionRefused], m[FencedBySync] = s.Disk.TornCut, s.Disk.RefusedByName, s.Disk.Fenced
	m[NoSpaceEntered], m[NoSpaceLeft], m[ClockStep] = s.FullDisks, s.Disk.Emptied, s.Faults[FaultStep]
}

// sawIf counts a moment if it is one.
func (c *Cluster) sawIf(is bool, m Moment) {
	if is {
		c.saw(m)
	}
}

// question names a request that arrived in the batch that is under way.
type question struct {
	conn replica.ConnID
	id   uint64
}

// asked notices what a request comes upon.
func (k *checker) asked(n *node, from replica.ConnID, f wire.Frame) {
	t := &k.nodes[n.index]
	t.asked = append(t.asked, question{from, f.ID})
	if f.Type != wire.FrameRead {
		return
	}
	level, _, err := wire.ParseRead(f.Body)
	n.c.sawIf(err == nil && level == wire.Stale, StaleReadServed)
	if err != nil || level == wire.Stale || !n.rep.Leading() {
		return
	}
	st := n.rep.Raft().Status()
	early := st.Commit == 0 || int(st.Commit) > len(t.log) || t.log[st.Commit-1].term != st.Term
	n.c.sawIf(early, ReadBeforeCommit)
	if level != wire.Lease || early {
		return
	}
	good := n.now() < n.rep.Raft().LeaseUntil()
	n.c.sawIf(good && n.rep.Applied() == st.Commit, LeaseReadServed)
	n.c.sawIf(!good && n.paused > 0 && n.c.now-n.paused < 50*millisecond, LeaseExpiredInPause)
}

// done ends a batch.
func (k *checker) done(n *node) {
	t := &k.nodes[n.index]
	t.asked = t.asked[:0]
	p := n.rep.Pending()
	t.waiting, t.owing = p.Reads, p.Writes
}

// refused notices what a client is told instead of an answer.
func (k *checker) refused(n *node, r *replica.Reply, f wire.Frame) {
	atOnce := slices.Contains(k.nodes[n.index].asked, question{r.Conn, f.ID})
	read := r.Kind == replica.KindGet || r.Kind == replica.KindScan
	switch r.Code {
	case wire.CodeBusy:
		n.c.saw(BusyRefusal)
	case wire.CodeUnknown:
		n.c.saw(UnknownOutcome)
	case wire.CodeNoSpace:
		n.c.saw(NoSpaceRefusal)
	case wire.CodeNotLeader, wire.CodeUnavailable:
		n.c.sawIf(read && !atOnce, ReadsDropped)
		n.c.sawIf(!read && !atOnce, ReplacedWrite)
	}
}

// canvass notices why a node will not vote. It runs before the request is taken.
func (k *checker) canvass(n *node, f wire.Frame) {
	if f.Type != wire.FramePreVote && f.Type != wire.FrameVote {
		return
	}
	m, err := wire.ParsePeer(f)
	st := n.rep.Raft().Status()
	if err != nil || m.Term <= st.Term {
		return
	}
	t := &k.nodes[n.index]
	n.c.sawIf(st.Abstaining, VoteAbstained)
	n.c.sawIf(st.Leader != 0 && f.Type == wire.FramePreVote && n.c.now-t.heard < n.c.opt.LeaseNanos, StickyRefusal)
	n.c.sawIf(st.Leader == 0 && t.restarted && n.c.now-t.born < n.c.opt.LeaseNanos, SilentRefusal)
}

// beat notices that a leader begins another round while reads wait for one before.
func (k *checker) beat(n *node, m *wire.PeerMessage) {
	t := &k.nodes[n.index]
	if m.Round <= t.round {
		return
	}
	n.c.sawIf(t.waiting > 0 && n.rep.Raft().Confirmed() < t.round, ReadRoundRepeated)
	t.round = m.Round
}
