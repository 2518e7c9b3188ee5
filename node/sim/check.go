package sim

import (
	"errors"
	"fmt"

	"github.com/dnode-engine/dnode/node/raft"
	"github.com/dnode-engine/dnode/node/replica"
	"github.com/dnode-engine/dnode/wire"
)

type votePos struct {
	node wire.NodeID
	term wire.Term
}

type roundPos struct {
	term  wire.Term
	round uint64
}

// checker holds the global truth that every node's behaviour is held against.
type checker struct {
	leaders   map[wire.Term]wire.NodeID
	votes     map[votePos]wire.NodeID
	rounds    map[roundPos]int64 // when they began
	largest   int                // entry, in bytes
	entries   [][]*created       // at index-1: one for each term that made an entry there
	committed []committed        // at index-1
	model     model              // what the committed entries mean
	hashes    []stateHash        // at the applied index
	cluster   wire.ClusterID
	nodes     []nodeTruth
	// floor is the highest revision that a completed operation was answered with:
	// whatever is called now is answered with one that is no lower.
	floor wire.Index
}

// stateHash is the hash of the state after some entry.
type stateHash struct {
	known bool
	hash  uint64
}

func newChecker(nodes int) *checker {
	return &checker{
		leaders: map[wire.Term]wire.NodeID{},
		votes:   map[votePos]wire.NodeID{},
		rounds:  map[roundPos]int64{},
		model:   newModel(),
		nodes:   make([]nodeTruth, nodes),
	}
}

// batch checks what a node does after a batch of events, before anything of it
// has left the node.
func (k *checker) batch(n *node, fx *replica.Effects) error {
	if fx.Store.Seq != 0 {
		if err := k.logged(n, &fx.Store); err != nil {
			return err
		}
	}
	for i := range fx.Reads {
		n.c.sawIf(fx.Reads[i].Peer != 0, ReadForFollower)
		n.c.sawIf(fx.Reads[i].Peer == 0, ReadForApply)
	}
	return k.after(n, fx)
}

// after checks a node's state after each of its batches.
func (k *checker) after(n *node, fx *replica.Effects) error {
	if err := n.rep.Fenced(); err != nil {
		return n.mayFence(err) // it may have learned of entries that it will not store, and tells nobody
	}
	st := n.rep.Raft().Status()
	n.c.stats.Terms = max(n.c.stats.Terms, st.Term)
	if st.Term < n.term || st.Commit < n.commit {
		return fmt.Errorf("node %d goes back from term %d, commit %d to term %d, commit %d", n.id, n.term, n.commit, st.Term, st.Commit)
	}
	if n.leads() && (st.Role != raft.Leader || n.term != st.Term) {
		k.deposed(n, &st)
	}
	leading := st.Role == raft.Leader && (!n.leads() || n.term != st.Term)
	if leading {
		n.c.stats.Elections++
		if err := k.elected(n, &st); err != nil {
			return err
		}
	}
	if err := k.commits(n, &st); err != nil {
		return err
	}
	n.role, n.term, n.commit = st.Role, st.Term, st.Commit
	if leading {
		n.c.elected(n)
	}
	if err := k.onDisk(n, &st); err != nil {
		return err
	}
	if err := k.bounds(n, fx, &st); err != nil {
		return err
	}
	return k.applied(n, &st)
}

// leads says whether the node led when its last batch ended.
func (n *node) leads() bool { return n.role == raft.Leader }

// elected checks a new leader: it is the only one of its term, it has everything
// that was committed in earlier terms, and no leader of an earlier term holds a
// lease. One of a later term may: votes that were long on their way can make a
// leader that a majority has left already.
func (k *checker) elected(n *node, st *raft.Status) error {
	if was, ok := k.leaders[st.Term]; ok {
		return fmt.Errorf("election safety: %d and %d both lead in term %d", was, n.id, st.Term)
	}
	k.leaders[st.Term] = n.id
	k.nodes[n.index].inherited, k.nodes[n.index].held = st.Uncommitted, st.MemBytes
	log := k.nodes[n.index].log
	for i := range k.committed {
		if e := &k.committed[i]; e.by < st.Term && (i >= len(log) || log[i] != e.entryID) {
			return fmt.Errorf("leader completeness: node %d leads in term %d without entry %d, which was committed by term %d", n.id, st.Term, i+1, e.by)
		}
	}
	for _, o := range n.c.nodes {
		if o != n && o.up && o.term < st.Term && n.c.honestClocks() && o.rep.Leading() && o.now() < o.rep.Raft().LeaseUntil() {
			return fmt.Errorf("lease: node %d leads in term %d, while node %d holds a lease of term %d", n.id, st.Term, o.id, o.term)
		}
	}
	for i := len(log) - 1; i >= int(st.Commit); i-- {
		if log[i].term < st.Term {
			n.c.saw(OldTailAtElection)
			break
		}
	}
	return nil
}

// honestClocks reports whether clocks keep the promise that leases rely on.
func (c *Cluster) honestClocks() bool { return !c.opt.Step && !c.opt.FrozenClock }

// deposed notices why a leader leads no more.
func (k *checker) deposed(n *node, st *raft.Status) {
	log := k.nodes[n.index].log
	n.c.sawIf(n.commit == 0 || log[n.commit-1].term != n.term, Ephemeral)
	if st.Term == n.term && !n.space.full {
		n.c.sawIf(st.DiskStalled, StalledStepDown)
		n.c.sawIf(!st.DiskStalled, QuorumStepDown)
	}
}

// commits checks what a node has learned to be committed: only a leader finds
// out, by counting disks, and only up to an entry of its own term; and everybody
// finds the same.
func (k *checker) commits(n *node, st *raft.Status) error {
	log := k.nodes[n.index].log
	if int(st.Commit) > len(log) {
		return fmt.Errorf("commit: node %d has committed %d, its log ends at %d", n.id, st.Commit, len(log))
	}
	for i := n.commit + 1; i <= st.Commit; i++ {
		if int(i) > len(k.committed) {
			return k.commit(n, st)
		}
		if k.committed[i-1].entryID != log[i-1] {
			return fmt.Errorf("state machine safety: node %d has committed another entry at %d than was committed there", n.id, i)
		}
	}
	return nil
}

// commit records entries that nobody had committed before.
func (k *checker) commit(n *node, st *raft.Status) error {
	log := k.nodes[n.index].log
	by := log[st.Commit-1].term
	if (st.Role != raft.Leader || by != st.Term) && (!n.leads() || by != n.term) {
		return fmt.Errorf("commit rule: node %d (%v in term %d) commits entry %d of term %d, which no leader of that term has committed", n.id, st.Role, st.Term, st.Commit, by)
	}
	for i := wire.Index(len(k.committed) + 1); i <= st.Commit; i++ {
		e := k.made(i, log[i-1].term)
		k.committed = append(k.committed, committed{created: e, by: by, at: n.c.now})
		if copies := k.copies(i); copies <= len(k.nodes)/2 {
			return fmt.Errorf("durability: node %d has committed entry %d, which is on %d of %d disks", n.id, i, copies, len(k.nodes))
		}
		if err := k.model.commit(i, e.raw); err != nil {
			return err
		}
		n.c.sawIf(by != e.term, CommitInOldTerm)
	}
	return nil
}

// onDisk checks that what a node believes to be on its disk is there, and that
// nothing else has left its memory; and that what a leader believes of the others'
// disks is there, unless a later leader may have replaced it.
func (k *checker) onDisk(n *node, st *raft.Status) error {
	t := &k.nodes[n.index]
	d := st.Durable
	if d > 0 && (int(d) > min(len(t.disk), len(t.log)) || t.disk[d-1] != t.log[d-1]) {
		return fmt.Errorf("durability: node %d believes that entry %d is on its disk, which ends at %d, its log at %d", n.id, d, len(t.disk), len(t.log))
	}
	if st.MemFirst > d+1 {
		return fmt.Errorf("durability: node %d has entries from %d in memory, its disk ends at %d", n.id, st.MemFirst, d)
	}
	if st.Role != raft.Leader {
		return nil
	}
	for p := range n.rep.Raft().Progress {
		o := &k.nodes[p.ID-1]
		if m := int(p.Match); m > 0 && o.vote.Term <= st.Term && (m > min(len(o.disk), len(t.log)) || o.disk[m-1] != t.log[m-1]) && n.c.nodes[p.ID-1].out == nil {
			return fmt.Errorf("durability: leader %d of term %d believes that entry %d is on the disk of node %d, which ends at %d", n.id, st.Term, m, p.ID, len(o.disk))
		}
	}
	return nil
}

// applied checks what a node has applied since its last batch.
func (k *checker) applied(n *node, st *raft.Status) error {
	t := &k.nodes[n.index]
	now := n.rep.Applied()
	if now < t.applied || now > st.Commit {
		return fmt.Errorf("applied: node %d goes from %d to %d, the commit index is %d", n.id, t.applied, now, st.Commit)
	}
	if now == t.applied {
		return nil
	}
	if err := k.appliedBytes(n, t.applied, now); err != nil {
		return err
	}
	t.applied = now
	for int(now) >= len(k.hashes) {
		k.hashes = append(k.hashes, stateHash{})
	}
	h := &k.hashes[now]
	if hash := n.rep.Status().Hash; !h.known {
		*h = stateHash{true, hash}
	} else if h.hash != hash {
		return fmt.Errorf("state hash: nodes that applied %d entries differ: %016x and %016x", now, h.hash, hash)
	}
	return nil
}

// answered checks a reply at the moment it leaves: an acknowledged write is
// committed and on the disks of a majority; what is read was applied, and no
// answer shows an older state than the one before.
func (k *checker) answered(n *node, r replica.Reply) error {
	f, err := wire.ParseFrame(r.Bytes, wire.MaxFrameBytes)
	if err != nil {
		return fmt.Errorf("node %d answers with a bad frame: %w", n.id, err)
	}
	if f.Type != wire.FrameWriteReply && f.Type != wire.FrameReadReply {
		k.refused(n, &r, f)
		return nil
	}
	index, _, err := wire.ParseReply(f.Body)
	if err != nil {
		return err
	}
	t := &k.nodes[n.index]
	if index > t.applied {
		return fmt.Errorf("node %d answers with revision %d, it has applied %d", n.id, index, t.applied)
	}
	if f.Type == wire.FrameReadReply {
		if index < t.answered {
			return fmt.Errorf("node %d answers a read with revision %d, after %d", n.id, index, t.answered)
		}
		t.answered = index
		return nil
	}
	if copies := k.copies(index); copies <= len(k.nodes)/2 {
		return fmt.Errorf("durability: node %d answers write %d, which is on %d of %d disks", n.id, index, copies, len(k.nodes))
	}
	n.c.sawIf(n.c.opt.Nodes == 1, SingleVoter)
	n.c.sawIf(n.c.opt.Nodes%2 == 0, EvenCluster)
	return nil
}

// settled reports whether, with all faults over, the cluster has a leader and all
// members agree.
func (k *checker) settled(c *Cluster) error {
	if !c.intact() {
		return errMayBeDown
	}
	lead := c.leaderNode()
	if lead < 0 {
		return errors.New("liveness: no leader was found after all faults ended")
	}
	st := c.nodes[lead].rep.Raft().Status()
	if st.Commit != st.Last || st.Term != c.nodes[lead].term {
		return fmt.Errorf("liveness: leader %d has committed %d of %d entries", lead+1, st.Commit, st.Last)
	}
	for _, n := range c.nodes {
		if n.out != nil {
			continue
		}
		if !n.up {
			return fmt.Errorf("liveness: node %d is down", n.id)
		}
		if durable := n.rep.Raft().Status().Durable; n.rep.Applied() != st.Commit || durable != st.Commit {
			return fmt.Errorf("liveness: node %d has applied %d and stored %d of %d entries", n.id, n.rep.Applied(), durable, st.Commit)
		}
	}
	return c.load.unanswered()
}

// final checks the whole history, and that the disk of a node that has applied it
// says the same.
func (k *checker) final(c *Cluster) error {
	if err := k.outcomes(c); err != nil {
		return err
	}
	if err := k.linearizable(c); err != nil {
		return err
	}
	n := c.witness()
	if n == nil {
		return nil
	}
	log, err := n.readLog()
	if err != nil {
		return err
	}
	for i := range k.committed {
		if i >= len(log) || log[i] != k.committed[i].entryID {
			return fmt.Errorf("durability: committed entry %d is not on the disk of node %d", i+1, n.id)
		}
	}
	return nil
}
