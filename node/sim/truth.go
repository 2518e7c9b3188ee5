package sim

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/dnode-engine/dnode/node/replica"
	"github.com/dnode-engine/dnode/wire"
)

// entryID identifies an entry's content at an index.
type entryID struct {
	term wire.Term
	crc  uint32 // the entry's own, of all of it
}

// created is what is known of an entry wherever it is met.
type created struct {
	entryID
	prevTerm wire.Term
	time     uint64 // the leader's
	raw      []byte // as first stored; immutable
	// made is when its leader's batch began and ended, by the leader's clock.
	made [2]int64
}

// same says whether two meetings are with one entry. Log matching: what came
// before is part of it.
func (e *created) same(o *created) bool {
	return e.entryID == o.entryID && e.prevTerm == o.prevTerm && e.time == o.time
}

// committed is an entry that can never change again.
type committed struct {
	*created
	by wire.Term // the term of the leader that committed it
	at int64     // when that was
}

// nodeTruth is what the checker knows of one node.
type nodeTruth struct {
	log      []entryID // the log as the node last changed it, in memory
	disk     []entryID // what is synced: survives any crash
	pending  []pendingWrite
	vote     wire.Vote // what is synced of its vote
	told     wire.Vote // the highest term it has told anyone, and its vote in it
	applied  wire.Index
	promises []promise // behind the leases that it may have confirmed

	// One life.
	restarted bool       // it had something on its disk when it began
	born      int64      // when it began
	heard     int64      // when it last answered a leader
	answered  wire.Index // the highest revision of a read's answer
	round     uint64     // the last that it began as leader
	waiting   int        // reads, when its last batch ended
	owing     int        // writes, likewise
	inherited int        // bytes that were not committed when it was elected
	held      int        // bytes of the log in memory then
	asked     []question // in the batch under way
}

// pendingWrite is a storage batch that is not known to be on the disk.
type pendingWrite struct {
	seq   uint64
	first wire.Index
	ids   []entryID
}

// made finds the entry of an index and a term, nil if it was never met.
func (k *checker) made(i wire.Index, term wire.Term) *created {
	if i == 0 || int(i) > len(k.entries) {
		return nil
	}
	for _, e := range k.entries[i-1] {
		if e.term == term {
			return e
		}
	}
	return nil
}

// meet checks an entry against what was met of it before.
func (k *checker) meet(i wire.Index, e created) error {
	if was := k.made(i, e.term); was != nil {
		if !was.same(&e) {
			return fmt.Errorf("log matching: two different entries have index %d and term %d", i, e.term)
		}
		return nil
	}
	if err := k.timed(i, &e); err != nil {
		return err
	}
	for int(i) > len(k.entries) {
		k.entries = append(k.entries, nil)
	}
	k.entries[i-1] = append(k.entries[i-1], &e)
	k.largest = max(k.largest, len(e.raw))
	return nil
}

// timed checks the time in a new entry: a term begins where the log's time stands,
// and then time passes as it does on the leader's clock.
func (k *checker) timed(i wire.Index, e *created) error {
	before := k.made(i-1, e.prevTerm)
	if before == nil {
		return nil
	}
	var least, most int64
	if e.prevTerm == e.term {
		least, most = max(e.made[0]-before.made[1]-clockGrain, 0), e.made[1]-before.made[0]+clockGrain
	}
	if passed := int64(e.time - before.time); passed < least || passed > most {
		return fmt.Errorf("time: entry %d of term %d says %d, %d more than the one before; by its leader's clock it is %d to %d", i, e.term, e.time, passed, least, most)
	}
	return nil
}

// logged checks what a node adds to its log: an entry is determined by index and
// term, and so is the one before it; nothing committed is replaced; a leader only
// appends.
func (k *checker) logged(n *node, s *replica.Store) error {
	t := &k.nodes[n.index]
	first, ids, err := k.parseRuns(n, s.Append)
	if err != nil {
		return err
	}
	t.pending = append(t.pending, pendingWrite{s.Seq, first, ids})
	if len(ids) == 0 {
		return nil
	}
	if int(first) <= len(t.log) {
		n.c.stats.Superseded += len(t.log) - int(first) + 1
		n.c.saw(SuffixSuperseded)
		n.c.sawIf(first <= 2 && k.founding(t.log), FoundingReplaced)
		if n.leads() && n.term == n.rep.Raft().Term() {
			return fmt.Errorf("leader append-only: node %d leads term %d and replaces entry %d", n.id, n.term, first)
		}
	}
	if first <= n.commit {
		return fmt.Errorf("log: node %d replaces entry %d, but knows that %d is committed", n.id, first, n.commit)
	}
	t.log = append(t.log[:first-1], ids...)
	if len(t.log) != int(s.Last) {
		return fmt.Errorf("log: node %d says its last entry is %d, it is %d", n.id, s.Last, len(t.log))
	}
	return nil
}

// founding reports whether a log's second entry founds the cluster.
func (k *checker) founding(log []entryID) bool {
	return len(log) > 1 && wire.EntryType(k.made(2, log[1].term).raw[4]) == wire.EntryConfig
}

// parseRuns reads entries on their way to a disk.
func (k *checker) parseRuns(n *node, runs [][]byte) (first wire.Index, ids []entryID, err error) {
	var prev wire.Term
	t, made := &k.nodes[n.index], [2]int64{n.batch, n.now()}
	for _, b := range runs {
		for len(b) > 0 {
			e, err := wire.ParseEntry(b)
			if err != nil {
				return 0, nil, fmt.Errorf("log: entry to be stored: %w", err)
			}
			if first == 0 {
				first = e.Index
				if int(first) > len(t.log)+1 {
					return 0, nil, fmt.Errorf("log: entry %d follows a log that ends at %d", first, len(t.log))
				}
				if first > 1 {
					prev = t.log[first-2].term
				}
			}
			if next := first + wire.Index(len(ids)); e.Index != next {
				return 0, nil, fmt.Errorf("log: entry %d where %d is expected", e.Index, next)
			}
			if e.Term < prev {
				return 0, nil, fmt.Errorf("log: entry %d of term %d follows one of term %d", e.Index, e.Term, prev)
			}
			time, err := e.Time()
			if err != nil {
				return 0, nil, fmt.Errorf("log: entry to be stored: %w", err)
			}
			id := entryID{e.Term, crcOf(b)}
			if err := k.meet(e.Index, created{id, prev, time, b[:e.Size:e.Size], made}); err != nil {
				return 0, nil, err
			}
			ids = append(ids, id)
			prev = e.Term
			b = b[e.Size:]
		}
	}
	return first, ids, nil
}

// crcOf is the checksum in an entry that was parsed: of its whole content.
func crcOf(entry []byte) uint32 { return binary.LittleEndian.Uint32(entry[24:]) }

// durable notes that writes are complete and synced.
func (k *checker) durable(n *node, batches []replica.Store) {
	t := &k.nodes[n.index]
	for i := range batches {
		if batches[i].SaveVote {
			t.vote = batches[i].Vote
		}
		p := &t.pending[i]
		if len(p.ids) == 0 {
			continue
		}
		t.disk = append(t.disk[:min(len(t.disk), int(p.first)-1)], p.ids...)
		last := len(t.disk)
		n.c.sawIf(last > len(t.log) || t.log[last-1] != t.disk[last-1], StaleCompletion)
	}
	t.pending = slices.Delete(t.pending, 0, len(batches))
}

// crashed notes what was being written: it may or may not be found later.
func (k *checker) crashed(n *node) {
	t := &k.nodes[n.index]
	t.pending = t.pending[:len(n.writing)]
	t.applied, t.heard, t.answered, t.round, t.waiting, t.owing = 0, 0, 0, 0, 0, 0
	t.inherited, t.held = 0, 0
	t.asked = t.asked[:0]
	n.c.sawIf(n.leads(), LeaderLost)
	up := 0
	for _, o := range n.c.nodes {
		if o.up {
			up++
		}
	}
	n.c.sawIf(up == 0, AllDown)
}

// recovered checks a node after a restart: what was synced is there, what was
// being written may be, and nothing else; no term and no vote that it told is
// forgotten.
func (k *checker) recovered(n *node) error {
	t := &k.nodes[n.index]
	found, err := n.readLog()
	if err != nil {
		return err
	}
	if !t.mayHold(found) {
		return fmt.Errorf("durability: %d entries were on the disk before the crash, %d are found, and they are not the same", len(t.disk), len(found))
	}
	st := n.rep.Raft().Status()
	if st.Term < t.told.Term {
		return fmt.Errorf("durability: term %d was told to others, %d is remembered", t.told.Term, st.Term)
	}
	if st.Term == t.told.Term && t.told.For != 0 && st.Vote != t.told.For {
		return fmt.Errorf("durability: a vote for %d in term %d was told to others, one for %d is remembered", t.told.For, st.Term, st.Vote)
	}
	t.restarted = t.vote.Term > 0 || len(t.disk) > 0
	t.born = n.c.now
	t.disk = found
	t.log = slices.Clone(found)
	t.pending = nil
	return nil
}

// mayHold reports whether a log may be found on a disk that held t.disk and was
// then given some of what is pending.
func (t *nodeTruth) mayHold(found []entryID) bool {
	possible := slices.Clone(t.disk)
	if slices.Equal(found, possible) {
		return true
	}
	for i := range t.pending {
		p := &t.pending[i]
		if len(p.ids) == 0 {
			continue
		}
		before := int(p.first) - 1
		if before > len(possible) {
			return false
		}
		if kept := len(found) - before; kept > 0 && kept <= len(p.ids) &&
			slices.Equal(found[:before], possible[:before]) && slices.Equal(found[before:], p.ids[:kept]) {
			return true
		}
		possible = append(possible[:before], p.ids...)
	}
	return false
}

// readLog reads the whole log back from the store.
func (n *node) readLog() ([]entryID, error) {
	var log []entryID
	err := n.eachEntry(n.rep.Raft().Status().Last, func(e *wire.Entry, raw []byte) error {
		log = append(log, entryID{e.Term, crcOf(raw)})
		return nil
	})
	return log, err
}

// eachEntry reads a node's log from its disk, up to and including last.
func (n *node) eachEntry(last wire.Index, visit func(e *wire.Entry, raw []byte) error) error {
	for next := wire.Index(1); next <= last; {
		b, err := n.store.Read(n.c.scratch[:0], next, 1<<20)
		if err != nil {
			return fmt.Errorf("cannot read log back: %w", err)
		}
		for n.c.scratch = b; len(b) > 0 && next <= last; {
			e, err := wire.ParseEntry(b)
			if err != nil || e.Index != next {
				return fmt.Errorf("cannot read log back: entry %d where %d is expected: %w", e.Index, next, err)
			}
			if err := visit(&e, b[:e.Size]); err != nil {
				return err
			}
			next++
			b = b[e.Size:]
		}
	}
	return nil
}

// copies counts the disks that hold a committed entry.
func (k *checker) copies(i wire.Index) int {
	copies := 0
	id := k.committed[i-1].entryID
	for n := range k.nodes {
		if d := k.nodes[n].disk; int(i) <= len(d) && d[i-1] == id {
			copies++
		}
	}
	return copies
}
