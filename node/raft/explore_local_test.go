package raft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"reflect"
	"slices"

	"github.com/dnode-engine/dnode/wire"
)

// An explored event happens at one node.
type eventKind uint8

const (
	evDeliver eventKind = iota // arg: the message
	evSync                     // the oldest storage batch is durable
	evTimeout                  // a follower campaigns, a leader checks its quorum
	evBeat                     // a heartbeat of a leader is due
	evPropose
	evRead
	evCrash // arg: how much of what was on its way reached the disk
	evRestart
	evDown  // arg: the peer whose link is lost, and comes back
	evReady // in scopes where it does not follow each event
)

type event struct {
	at   uint8 // 0..2
	kind eventKind
	arg  uint32
}

// local is one node's core and disk in a state that was reached, never changed
// again, and what the checkers look at.
type local struct {
	n         *node
	print     [len(permutations)]uint64 // fingerprints, under each renaming of the nodes
	mem, disk []wire.Term               // terms of the entries
}

// outcome is what an event makes of a node: the same for ever, since a core has
// no other input.
type outcome struct {
	to     uint32 // local
	sent   []uint32
	ticket Read
	fault  string
}

// Nodes are renamed by permutations[k][id-1]: the core treats all ids alike, so
// that states which differ by a renaming are explored once.
var permutations = [6][3]wire.NodeID{{1, 2, 3}, {1, 3, 2}, {2, 1, 3}, {2, 3, 1}, {3, 1, 2}, {3, 2, 1}}

// locals interns the states of nodes and messages, and remembers what each event
// makes of them.
type locals struct {
	scope *scope

	nodes []local
	ids   map[string]uint32

	msgs     []wire.PeerMessage
	msgIDs   map[string]uint32
	msgPrint [][len(permutations)]uint64

	known map[uint64]outcome // by node state, kind and argument of the event
}

func newLocals(s *scope) *locals {
	return &locals{scope: s, ids: map[string]uint32{}, msgIDs: map[string]uint32{}, known: map[uint64]outcome{}}
}

// fire returns what an event makes of a node.
func (l *locals) fire(from uint32, kind eventKind, arg uint32) outcome {
	key := uint64(from)<<32 | uint64(kind)<<24 | uint64(arg)
	o, ok := l.known[key]
	if !ok {
		o = l.run(from, kind, arg)
		l.known[key] = o
	}
	return o
}

// run carries out an event and what follows from it at once: a Ready.
func (l *locals) run(from uint32, kind eventKind, arg uint32) (o outcome) {
	before := l.nodes[from].n
	n := cloneNode(before)
	defer func() {
		if p := recover(); p != nil {
			o.fault = fmt.Sprint(p)
		}
	}()
	var m wire.PeerMessage
	if kind == evDeliver {
		m = l.msgs[arg]
	}
	l.scope.plant.before(n, kind, &m)
	if err := l.apply(n, kind, arg, &m, &o); err != nil {
		o.fault = err.Error()
	}
	if n.core != nil {
		l.scope.plant.after(n, kind)
		if !l.scope.batched || kind == evReady {
			l.ready(n, &o)
		}
		l.normalize(n)
	}
	if f := checkLocal(before, n, kind); f != "" && o.fault == "" {
		o.fault = f
	}
	known := len(l.nodes)
	if o.to = l.intern(n); len(l.nodes) > known && n.core != nil && o.fault == "" {
		o.fault = l.checkDeaf(n)
	}
	return o
}

// checkDeaf: no answer to a word of an earlier term changes anything. That is what
// lets the explorer forget the messages that are dead.
func (l *locals) checkDeaf(n *node) string {
	r, was := n.core, l.encode(n, 0)
	for _, typ := range []wire.FrameType{wire.FramePreVoteReply, wire.FrameVoteReply, wire.FrameAppendReply, wire.FrameRoundReply} {
		for i := range r.peers {
			m := wire.PeerMessage{Type: typ, From: r.peers[i].id, To: n.id, Term: r.term - min(r.term, 1), Index: r.log.last, Round: r.rounds.last}
			if m.From == n.id || m.Term == 0 {
				continue
			}
			c := cloneNode(n)
			if err := c.core.Step(&m); err != nil || !slices.Equal(l.encode(c, 0), was) {
				return fmt.Sprintf("heeds %s in term %d: %s, %v", describe(&m), r.term, brief(c.core), err)
			}
		}
	}
	return ""
}

// ready takes all that a node has to do, and interns what it says.
func (l *locals) ready(n *node, o *outcome) {
	net := &network{}
	for range 6 { // reads of the disk are answered at once
		net.ready(n)
		net.sync(n, l.scope.syncs())
	}
	if len(n.core.out)+len(n.core.reads) > 0 || l.scope.inline && len(n.ops) > 0 {
		panic("the node is not quiet")
	}
	for i := range net.msgs {
		l.say(n, &net.msgs[i], o)
	}
}

func (l *locals) apply(n *node, kind eventKind, arg uint32, m *wire.PeerMessage, o *outcome) error {
	switch kind {
	case evDeliver:
		return n.core.Step(m)
	case evSync:
		(&network{}).sync(n, 1)
	case evTimeout:
		n.core.elapsed = n.core.timeout
		if n.core.role != Leader && !l.scope.preVote {
			n.core.becomeCandidate() // as if a majority had said that it would vote
			return nil
		}
		n.core.Tick()
	case evBeat:
		n.core.heartbeatLeft = 1
		n.core.Tick()
	case evPropose:
		_, err := n.core.Propose(wire.EntryCommand, make([]byte, wire.StampBytes), nil)
		return err
	case evRead:
		var err error
		if o.ticket, err = n.core.ReadIndex(); errors.Is(err, ErrNotReady) {
			err = nil
		}
		return err
	case evCrash:
		n.tear(int(arg))
		n.crash()
	case evRestart:
		return n.start(false)
	case evDown:
		n.core.PeerDown(wire.NodeID(arg))
		n.core.PeerUp(wire.NodeID(arg))
	}
	return nil
}

// tear lets the first writes of what was on its way reach the disk: a vote comes
// before the entries of its batch, and entries in order.
func (n *node) tear(writes int) {
	for _, op := range n.ops {
		if op.vote != nil {
			if writes--; writes < 0 {
				return
			}
			n.persist(storeOp{vote: op.vote})
		}
		for k := range op.entries {
			if writes--; writes < 0 {
				return
			}
			n.persist(storeOp{entries: op.entries[k : k+1]})
		}
	}
}

func (n *node) unsynced() int {
	writes := 0
	for _, op := range n.ops {
		if op.vote != nil {
			writes++
		}
		writes += len(op.entries)
	}
	return writes
}

// normalize takes time out of a node: it is always long after everything, so
// that nobody is sticky or silent and any timer may expire next. That allows
// more than any real timing does.
func (l *locals) normalize(n *node) {
	r := n.core
	r.rand, r.now, r.started, r.ticks = 0, 0, 0, 0
	r.timeout, r.elapsed, r.heartbeatLeft = r.cfg.ElectionTicks, 1, r.cfg.HeartbeatTicks
	r.sinceLeader, r.heard, r.everHeard = r.cfg.ElectionTicks, 0, false
	r.restarted, r.silentTicks = false, 0
	for i := range r.log.batches {
		r.log.batches[i].tick = 0
	}
	r.rounds.sentAt = [roundTimes]int64{}
	r.forgetRepeated()
	if !l.scope.rounds {
		r.rounds = rounds{}
	}
	r.spoil()
	n.rd = Ready{}
	n.cfg.Seed = 0
}

// spoil fills what means nothing in a node's role with what a role before may have
// left there and what does harm if it is believed: the next role has to begin anew.
func (r *Raft) spoil() {
	const much = 1 << 20
	if r.role == Leader {
		r.follow = followState{verified: r.log.last, acked: r.log.last}
	} else {
		r.rounds = rounds{last: much, confirmed: much}
		r.termStart, r.uncommitted = 1, much
	}
	for i := range r.peers {
		p := &r.peers[i]
		if r.role != Leader {
			p.state, p.match, p.next, p.acked, p.commitSent = Replicate, r.log.last+1, r.log.last+2, much, much
			p.active, p.moved, p.probing, p.probe, p.inflight.bytes = true, true, true, sent{r.log.last + 1, 1}, much
		}
		if r.role != Candidate && r.role != PreCandidate && p.id != r.cfg.ID {
			p.vote = granted
		}
	}
}

// forgetRepeated drops messages that wait behind an equal one: the network keeps
// what was sent.
func (r *Raft) forgetRepeated() {
	var once []waiting
	for _, w := range r.waiting {
		if !slices.ContainsFunc(once, func(o waiting) bool { return reflect.DeepEqual(o.m, w.m) }) {
			once = append(once, w)
		}
	}
	var out []wire.PeerMessage
	for _, m := range r.out {
		if !slices.ContainsFunc(out, func(o wire.PeerMessage) bool { return reflect.DeepEqual(o, m) }) {
			out = append(out, m)
		}
	}
	r.waiting, r.out = once, out
}

// say interns a message that a node sends, after a look at its disk.
func (l *locals) say(n *node, m *wire.PeerMessage, o *outcome) {
	if !l.scope.rounds && (m.Type == wire.FrameRound || m.Type == wire.FrameRoundReply) {
		return
	}
	l.scope.plant.sent(n, m)
	if f := l.checkWord(n, m); f != "" && o.fault == "" {
		o.fault = f
	}
	if id := l.message(m); !slices.Contains(o.sent, id) {
		o.sent = append(o.sent, id)
	}
}

// checkWord holds what a node says against its disk.
func (l *locals) checkWord(n *node, m *wire.PeerMessage) string {
	bad := false
	switch m.Type {
	case wire.FrameVote, wire.FrameAppend:
		bad = n.vote.Term < m.Term
	case wire.FrameVoteReply:
		bad = !m.Reject && (n.vote.Term < m.Term || n.vote.Term == m.Term && n.vote.For != m.To)
	case wire.FrameAppendReply:
		bad = n.vote.Term < m.Term || !m.Reject && int(m.Index) > len(n.log)
		for i := wire.Index(1); !m.Reject && !bad && i <= m.Index; i++ {
			t, _ := n.core.log.term(i)
			bad = n.core.term == m.Term && t != n.log[i-1].term
		}
	}
	if bad {
		return fmt.Sprintf("says %s, its disk has %+v and %s", describe(m), n.vote, entryList(n.log))
	}
	return ""
}

// checkLocal compares a node with what it was before an event.
func checkLocal(was, is *node, kind eventKind) string {
	switch {
	case is.vote.Term < was.vote.Term || is.vote.Term == was.vote.Term && was.vote.For != 0 && is.vote.For != was.vote.For:
		return fmt.Sprintf("its disk had vote %+v and has %+v", was.vote, is.vote)
	case was.core == nil || is.core == nil || kind == evRestart:
		return ""
	case is.core.log.commit < was.core.log.commit || is.core.term < was.core.term:
		return fmt.Sprintf("%s became %s", brief(was.core), brief(is.core))
	case is.core.log.memFirst > is.core.log.durable+1:
		return fmt.Sprintf("has entries from %d in memory, durable %d", is.core.log.memFirst, is.core.log.durable)
	}
	return ""
}

// intern returns the number of a node's state.
func (l *locals) intern(n *node) uint32 {
	key := string(l.encode(n, 0))
	id, ok := l.ids[key]
	if !ok {
		id = uint32(len(l.nodes))
		l.ids[key] = id
		lo := local{n: n}
		for p := range permutations {
			lo.print[p] = print64(l.encode(n, p))
		}
		for _, e := range n.log {
			lo.disk = append(lo.disk, e.term)
		}
		if n.core != nil {
			for i := wire.Index(1); i <= n.core.log.last; i++ {
				t, _ := n.core.log.term(i)
				lo.mem = append(lo.mem, t)
			}
		}
		l.nodes = append(l.nodes, lo)
	}
	return id
}

// message returns the number of a message.
func (l *locals) message(m *wire.PeerMessage) uint32 {
	key := string(encodeMessage(nil, m, 0))
	id, ok := l.msgIDs[key]
	if !ok {
		id = uint32(len(l.msgs))
		l.msgIDs[key] = id
		l.msgs = append(l.msgs, *m)
		var print [len(permutations)]uint64
		for p := range permutations {
			print[p] = print64(encodeMessage([]byte("message"), m, p))
		}
		l.msgPrint = append(l.msgPrint, print)
	}
	return id
}

func print64(b []byte) uint64 {
	h := fnv.New64a()
	h.Write(b)
	return mix(h.Sum64())
}

// mix is the finalizer of splitmix64.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func renamed(id wire.NodeID, p int) uint64 {
	if id == 0 {
		return 0
	}
	return uint64(permutations[p][id-1])
}

func encodeMessage(b []byte, m *wire.PeerMessage, p int) []byte {
	c := *m
	c.From, c.To = wire.NodeID(renamed(m.From, p)), wire.NodeID(renamed(m.To, p))
	return wire.AppendPeerFrame(append(b, byte(c.To)), &c)
}

// encode writes all that decides a node's future, with the nodes renamed.
// Numbers of storage batches count from the newest durable one.
func (l *locals) encode(n *node, p int) []byte {
	var b []byte
	put := func(values ...uint64) {
		for _, v := range values {
			b = binary.AppendUvarint(b, v)
		}
	}
	put(renamed(n.id, p), uint64(n.vote.Term), renamed(n.vote.For, p), uint64(len(n.log)))
	for _, e := range n.log {
		put(uint64(e.term)<<2 | uint64(e.data[4]))
	}
	r := n.core
	if r == nil {
		return b
	}
	put(1, uint64(r.role), renamed(r.leader, p), uint64(r.term), renamed(r.vote, p), one(r.voteDirty), one(r.abstain))
	put(r.voteSeq-min(r.synced, r.voteSeq), r.seq-r.synced, uint64(len(n.ops)))
	for _, op := range n.ops {
		put(op.seq-r.synced, one(op.vote != nil), uint64(len(op.entries)))
		if op.vote != nil {
			put(uint64(op.vote.Term), renamed(op.vote.For, p))
		}
		for _, e := range op.entries {
			put(uint64(e.index), uint64(e.term)<<2|uint64(e.data[4]))
		}
	}
	put(uint64(r.follow.verified), uint64(r.follow.acked), one(r.follow.due))
	lg := &r.log
	put(uint64(lg.last), uint64(lg.commit), uint64(lg.durable), uint64(lg.handed), uint64(lg.memFirst), uint64(len(lg.batches)))
	for i := lg.memFirst; i <= lg.last; i++ {
		e, _ := lg.slice(i, i+1, 0)
		put(binary.LittleEndian.Uint64(e[16:])<<2 | uint64(e[4]))
	}
	for _, t := range lg.batches {
		put(t.seq-r.synced, uint64(t.last))
	}
	var held []string // in any order: the network keeps none
	for i := range r.waiting {
		w := binary.AppendUvarint(nil, r.waiting[i].seq-r.synced)
		held = append(held, string(encodeMessage(w, &r.waiting[i].m, p)))
	}
	for i := range r.out {
		held = append(held, string(encodeMessage([]byte{0}, &r.out[i], p)))
	}
	slices.Sort(held)
	put(uint64(len(held)))
	for _, w := range held {
		b = append(b, w...)
	}
	if r.role == Leader {
		put(uint64(r.termStart), r.rounds.last, r.rounds.confirmed, one(r.rounds.wanted), one(r.rounds.beat))
	}
	return l.encodePeers(b, r, p)
}

// encodePeers writes what a role knows about the others, in order of new ids.
func (l *locals) encodePeers(b []byte, r *Raft, p int) []byte {
	for id := uint64(1); id <= 3; id++ {
		k := slices.IndexFunc(r.peers, func(q peer) bool { return renamed(q.id, p) == id })
		q := &r.peers[k]
		if r.role == Candidate || r.role == PreCandidate {
			b = append(b, byte(q.vote))
		}
		if r.role != Leader {
			continue
		}
		for _, v := range []uint64{
			uint64(q.state), uint64(q.match), uint64(q.next), uint64(q.commitSent), one(q.active), one(q.moved),
			one(q.probing), uint64(q.probe.last), uint64(q.reading), q.acked, uint64(q.inflight.n),
		} {
			b = binary.AppendUvarint(b, v)
		}
		for i := range q.inflight.n {
			b = binary.AppendUvarint(b, uint64(q.inflight.sent[(q.inflight.head+i)%maxInflight].last))
		}
	}
	return b
}

// cloneNode copies a node so that both may go on.
func cloneNode(n *node) *node {
	c := *n
	c.log, c.ops, c.rd = slices.Clone(n.log), slices.Clone(n.ops), Ready{}
	if n.core != nil {
		c.core = n.core.clone()
	}
	return &c
}

// clone copies a core. Chunks of the log are written once and can be shared; the
// newest is cut off at its end, so that the copy begins another.
func (r *Raft) clone() *Raft {
	c := *r
	c.out, c.waiting, c.reads = slices.Clone(r.out), slices.Clone(r.waiting), slices.Clone(r.reads)
	c.configs, c.peers = slices.Clone(r.configs), slices.Clone(r.peers)
	for i := range c.peers {
		w := &c.peers[i].inflight
		w.sent = slices.Clone(w.sent)
	}
	l := &c.log
	l.runs, l.segs, l.offs, l.batches = slices.Clone(l.runs), slices.Clone(l.segs), slices.Clone(l.offs), slices.Clone(l.batches)
	l.chunk = l.chunk[:len(l.chunk):len(l.chunk)]
	return &c
}
