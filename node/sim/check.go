package sim

import (
	"errors"
	"fmt"

	"github.com/dnode-engine/dnode/node/raft"
	"github.com/dnode-engine/dnode/node/replica"
	"github.com/dnode-engine/dnode/wire"
)

// entryID identifies an entry's content at an index.
type entryID struct {
	term wire.Term
	crc  uint32
}

type logPos struct {
	index wire.Index
	term  wire.Term
}

// created is what is known of an entry wherever it is met.
type created struct {
	crc      uint32
	prevTerm wire.Term
	time     uint64 // the leader's
}

type committed struct {
	entryID
	by wire.Term // term of the member that first applied it: at least the committing term
	at int64     // when that was
}

type votePos struct {
	node wire.NodeID
	term wire.Term
}

// checker holds the global truth that every node's behaviour is held against.
type checker struct {
	leaders   map[wire.Term]wire.NodeID
	votes     map[votePos]wire.NodeID
	entries   map[logPos]created
	committed []committed           // at index-1
	hashes    map[wire.Index]uint64 // state hash at applied index
	cluster   wire.ClusterID        // as first founded
	nodes     []nodeTruth
}

// nodeTruth is what the checker knows of one node.
type nodeTruth struct {
	log     []entryID // the log as the node last changed it, in memory
	disk    []entryID // what is synced: survives any crash
	inWrite [][]entryID
	inFirst []wire.Index
	vote    wire.Vote // what is synced of its vote
	applied wire.Index
	term    wire.Term // highest term it has told anyone
}

func newChecker(nodes int) *checker {
	return &checker{
		leaders: map[wire.Term]wire.NodeID{},
		votes:   map[votePos]wire.NodeID{},
		entries: map[logPos]created{},
		hashes:  map[wire.Index]uint64{},
		nodes:   make([]nodeTruth, nodes),
	}
}

// overlay puts run, which begins at first, over a log.
func overlay(log []entryID, first wire.Index, run []entryID) ([]entryID, error) {
	if int(first) > len(log)+1 {
		return nil, fmt.Errorf("entry %d follows a log that ends at %d", first, len(log))
	}
	return append(log[:first-1], run...), nil
}

// logged checks what a node adds to its log: an entry is determined by index and
// term, and so is the term before it; nothing committed is replaced.
func (k *checker) logged(n *node, s *replica.Store) error {
	t := &k.nodes[n.index]
	first, ids, err := k.parseRuns(t, s.Append)
	if err != nil || len(ids) == 0 {
		return err
	}
	if int(first) <= len(t.log) {
		n.c.stats.Superseded += len(t.log) - int(first) + 1
	}
	if first <= t.applied {
		return fmt.Errorf("log: node %d replaces entry %d, but has applied %d", n.id, first, t.applied)
	}
	t.log, err = overlay(t.log, first, ids)
	if err == nil && len(t.log) != int(s.Last) {
		err = fmt.Errorf("log: node %d says its last entry is %d, it is %d", n.id, s.Last, len(t.log))
	}
	return err
}

func (k *checker) parseRuns(t *nodeTruth, runs [][]byte) (first wire.Index, ids []entryID, err error) {
	var next wire.Index
	var prev wire.Term
	for _, b := range runs {
		for len(b) > 0 {
			e, err := wire.ParseEntry(b)
			if err != nil {
				return 0, nil, fmt.Errorf("log: entry to be stored: %w", err)
			}
			if first == 0 {
				first, next = e.Index, e.Index
				if int(first) > len(t.log)+1 {
					return 0, nil, fmt.Errorf("log: entry %d follows a log that ends at %d", first, len(t.log))
				}
				if first > 1 {
					prev = t.log[first-2].term
				}
			}
			if e.Index != next {
				return 0, nil, fmt.Errorf("log: entry %d where %d is expected", e.Index, next)
			}
			crc := wire.Checksum(b[:e.Size])
			pos := logPos{e.Index, e.Term}
			time, err := e.Time()
			if err != nil {
				return 0, nil, fmt.Errorf("log: entry to be stored: %w", err)
			}
			if was, ok := k.entries[pos]; ok && was != (created{crc, prev, time}) {
				return 0, nil, fmt.Errorf("log matching: two different entries have index %d and term %d", e.Index, e.Term)
			}
			if before := k.entries[logPos{e.Index - 1, prev}]; before.time > time {
				return 0, nil, fmt.Errorf("time: entry %d of term %d says %d, the one before %d", e.Index, e.Term, time, before.time)
			}
			k.entries[pos] = created{crc, prev, time}
			ids = append(ids, entryID{e.Term, crc})
			prev = e.Term
			next++
			b = b[e.Size:]
		}
	}
	return first, ids, nil
}

// durable notes that a write is complete and synced.
func (k *checker) durable(n *node, batches []replica.Store) {
	t := &k.nodes[n.index]
	for i := range batches {
		if batches[i].SaveVote {
			t.vote = batches[i].Vote
		}
		first, ids := identify(batches[i].Append)
		if len(ids) > 0 {
			t.disk = append(t.disk[:min(len(t.disk), int(first)-1)], ids...)
		}
	}
}

func identify(runs [][]byte) (first wire.Index, ids []entryID) {
	for _, b := range runs {
		for len(b) > 0 {
			e, err := wire.ParseEntry(b)
			if err != nil {
				return first, ids
			}
			if first == 0 {
				first = e.Index
			}
			ids = append(ids, entryID{e.Term, wire.Checksum(b[:e.Size])})
			b = b[e.Size:]
		}
	}
	return first, ids
}

// crashed notes what was being written: it may or may not be found later.
func (k *checker) crashed(n *node) {
	t := &k.nodes[n.index]
	t.inFirst, t.inWrite = nil, nil
	for i := range n.writing {
		if first, ids := identify(n.writing[i].Append); len(ids) > 0 {
			t.inFirst = append(t.inFirst, first)
			t.inWrite = append(t.inWrite, ids)
		}
	}
	t.applied = 0
}

// recovered checks a node's log after a restart: what was synced is there, what
// was being written may be, and nothing else.
func (k *checker) recovered(n *node) error {
	t := &k.nodes[n.index]
	found, err := n.readLog()
	if err != nil {
		return err
	}
	ok := equalLog(found, t.disk)
	possible := t.disk
	for i := 0; i < len(t.inWrite) && !ok; i++ {
		for cut := 1; cut <= len(t.inWrite[i]) && !ok; cut++ {
			with, err := overlay(append([]entryID(nil), possible...), t.inFirst[i], t.inWrite[i][:cut])
			if err != nil {
				return err
			}
			ok = equalLog(found, with)
		}
		if possible, err = overlay(append([]entryID(nil), possible...), t.inFirst[i], t.inWrite[i]); err != nil {
			return err
		}
	}
	if !ok {
		return fmt.Errorf("durability: %d entries were on the disk before the crash, %d are found, and they are not the same", len(t.disk), len(found))
	}
	if st := n.rep.Raft().Status(); st.Term < t.term && !n.forgot() {
		return fmt.Errorf("durability: term %d was told to others, %d is remembered", t.term, st.Term)
	}
	t.disk = found
	t.log = append(t.log[:0:0], found...)
	t.inFirst, t.inWrite = nil, nil
	return nil
}

func equalLog(a, b []entryID) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// readLog reads the whole log back from the store.
func (n *node) readLog() ([]entryID, error) {
	var log []entryID
	err := n.eachEntry(n.rep.Raft().Status().Last, func(e *wire.Entry, raw []byte) error {
		log = append(log, entryID{e.Term, wire.Checksum(raw)})
		return nil
	})
	return log, err
}

// sent checks what a node tells another: one vote in a term.
func (k *checker) sent(n *node, to int, b []byte) error {
	t := &k.nodes[n.index]
	for len(b) > 0 {
		f, err := wire.ParseFrame(b, wire.MaxAppendBytes)
		if err != nil {
			return fmt.Errorf("node %d sends a bad frame: %w", n.id, err)
		}
		m, err := wire.ParsePeer(f)
		if err != nil {
			return fmt.Errorf("node %d sends a bad message: %w", n.id, err)
		}
		b, m.To = b[f.Size:], wire.NodeID(to+1)
		if m.Type == wire.FramePreVoteReply {
			continue // speaks of a term that nobody has entered
		}
		if m.Type == wire.FramePreVote {
			n.c.canvassed(n) // likewise
			continue
		}
		t.term = max(t.term, m.Term)
		if err := k.said(n, &m); err != nil {
			return err
		}
	}
	return nil
}

// after checks a node's state after each of its events.
func (k *checker) after(n *node) error {
	st := n.rep.Raft().Status()
	n.c.stats.Terms = max(n.c.stats.Terms, st.Term)
	if st.Role == raft.Leader && (n.role != raft.Leader || n.term != st.Term) {
		n.c.stats.Elections++
		if err := k.elected(n, st.Term); err != nil {
			return err
		}
		n.c.elected(n)
	} else if st.Role == raft.Leader && st.Commit > n.commit {
		if by := k.nodes[n.index].log[st.Commit-1].term; by != st.Term {
			return fmt.Errorf("commit rule: node %d leads term %d and commits entry %d of term %d by counting", n.id, st.Term, st.Commit, by)
		}
	}
	n.role, n.term, n.commit = st.Role, st.Term, st.Commit
	return k.applied(n, st.Term)
}

func (k *checker) elected(n *node, term wire.Term) error {
	if was, ok := k.leaders[term]; ok && was != n.id {
		return fmt.Errorf("election safety: %d and %d both lead in term %d", was, n.id, term)
	}
	k.leaders[term] = n.id
	log := k.nodes[n.index].log
	for i, e := range k.committed {
		if e.by >= term {
			continue
		}
		if i >= len(log) || log[i] != e.entryID {
			return fmt.Errorf("leader completeness: node %d leads in term %d without entry %d, which was committed by term %d", n.id, term, i+1, e.by)
		}
	}
	return nil
}

// applied checks what a node has applied since its last event.
func (k *checker) applied(n *node, term wire.Term) error {
	t := &k.nodes[n.index]
	now := n.rep.Applied()
	if now < t.applied {
		return fmt.Errorf("applied index of node %d goes back from %d to %d", n.id, t.applied, now)
	}
	if int(now) > len(t.log) {
		return fmt.Errorf("node %d has applied %d, its log ends at %d", n.id, now, len(t.log))
	}
	for i := t.applied + 1; i <= now; i++ {
		id := t.log[i-1]
		if int(i) > len(k.committed) {
			k.committed = append(k.committed, committed{entryID: id, by: term, at: n.c.now})
			if copies := k.copies(i); copies <= len(k.nodes)/2 {
				return fmt.Errorf("durability: node %d has committed entry %d, which is on %d of %d disks", n.id, i, copies, len(k.nodes))
			}
			continue
		}
		if k.committed[i-1].entryID != id {
			return fmt.Errorf("state machine safety: node %d applies another entry at %d than was committed there", n.id, i)
		}
	}
	if n.rep.Fenced() != nil {
		return n.mayFence(n.rep.Fenced())
	}
	if now == t.applied {
		return nil
	}
	t.applied = now
	hash := n.rep.Status().Hash
	if was, ok := k.hashes[now]; ok && was != hash {
		return fmt.Errorf("state hash: nodes that applied %d entries differ: %016x and %016x", now, was, hash)
	}
	k.hashes[now] = hash
	return nil
}

// answered checks a reply at the moment it leaves: an acknowledged write is
// committed and on the disks of a majority.
func (k *checker) answered(n *node, r replica.Reply) error {
	f, err := wire.ParseFrame(r.Bytes, wire.MaxFrameBytes)
	if err != nil {
		return fmt.Errorf("node %d answers with a bad frame: %w", n.id, err)
	}
	if f.Type != wire.FrameWriteReply {
		return nil
	}
	index, _, err := wire.ParseReply(f.Body)
	if err != nil {
		return err
	}
	if int(index) > len(k.committed) {
		return fmt.Errorf("node %d answers write %d, which is not committed", n.id, index)
	}
	if copies := k.copies(index); copies <= len(k.nodes)/2 {
		return fmt.Errorf("durability: node %d answers write %d, which is on %d of %d disks", n.id, index, copies, len(k.nodes))
	}
	return nil
}

// copies counts the disks that hold a committed entry.
func (k *checker) copies(index wire.Index) int {
	copies := 0
	for i := range k.nodes {
		if d := k.nodes[i].disk; int(index) <= len(d) && d[index-1] == k.committed[index-1].entryID {
			copies++
		}
	}
	return copies
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
	for i := range c.load.clients {
		if c.load.readOnly && !c.load.clients[i].asked {
			return fmt.Errorf("liveness: client %d gets no answer to a read", i)
		}
	}
	return nil
}

// final checks the whole history of a settled cluster.
func (k *checker) final(c *Cluster) error {
	n := c.witness()
	if n == nil {
		return nil
	}
	if err := k.history(c, n); err != nil {
		return err
	}
	return k.linearizable(c, n)
}

// history checks that every acknowledged write stands in the log where its reply
// said.
func (k *checker) history(c *Cluster, n *node) error {
	commands, err := k.commands(n)
	if err != nil {
		return err
	}
	inLog := make(map[string]bool, len(commands))
	for i, command := range commands {
		if command != "" && inLog[command] {
			return fmt.Errorf("exactness: entry %d is a write that was carried out before", i+1)
		}
		inLog[command] = true
	}
	for i := range c.load.history {
		op := &c.load.history[i]
		if op.Failed && !op.Read && inLog[string(op.Command)] {
			return fmt.Errorf("exactness: write of client %d was said to have failed, and is in the log", op.Client)
		}
		if op.Read || !op.Acked {
			continue
		}
		if int(op.Revision) > len(commands) || commands[op.Revision-1] != string(op.Command) {
			return fmt.Errorf("durability: write of client %d acknowledged at %d is not there", op.Client, op.Revision)
		}
	}
	return nil
}

// commands reads all commands in a node's log, by index-1; "" for other entries.
func (k *checker) commands(n *node) ([]string, error) {
	commands := make([]string, 0, len(k.committed))
	err := n.eachEntry(n.rep.Applied(), func(e *wire.Entry, raw []byte) error {
		var command []byte
		var err error
		if e.Type == wire.EntryCommand {
			_, command, err = e.Command()
		}
		commands = append(commands, string(command))
		return err
	})
	return commands, err
}
