package raft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dnode-engine/dnode/wire"
)

const tickNanos = 10_000_000

// stored is one entry as a node's disk has it.
type stored struct {
	index wire.Index
	term  wire.Term
	data  []byte
}

// storeOp is a storage batch that is not durable yet.
type storeOp struct {
	seq     uint64
	vote    *wire.Vote
	entries []stored
}

// node is a core with the disk below it. The disk is what survives a crash.
type node struct {
	id   wire.NodeID
	core *Raft // nil while crashed
	cfg  Config
	boot wire.Membership

	vote  wire.Vote
	voted bool
	log   []stored
	ops   []storeOp
	asked []ReadRequest // not answered yet
	hang  bool          // the disk takes batches and completes none

	rd Ready

	changes uint64     // when the random test last compared its configurations with its log,
	checked wire.Index // and the last entry then
}

// network is a deterministic cluster of cores. Nothing happens by itself.
type network struct {
	nodes []*node
	msgs  []wire.PeerMessage
	cuts  [][2]wire.NodeID // from, to
	now   int64
	late  bool // entries are read back when the network settles, not at once
	loud  bool
	out   strings.Builder
}

func testConfig(id wire.NodeID) Config {
	return Config{
		ID: id, ElectionTicks: 10, HeartbeatTicks: 2, LeaseNanos: 8 * tickNanos, Seed: 1,
		MaxAppendBytes: 1 << 20, MaxInflightBytes: 1 << 20, MaxUncommittedBytes: 1 << 20, TailBytes: 1 << 20,
	}
}

func testMembers(voters, learners int) wire.Membership {
	m := wire.Membership{NextID: wire.NodeID(voters + learners + 1)}
	for i := range voters + learners {
		role := wire.Voter
		if i >= voters {
			role = wire.Learner
		}
		m.Members = append(m.Members, wire.Member{ID: wire.NodeID(i + 1), Name: fmt.Sprintf("n%d", i+1), Role: role})
	}
	return m
}

func newNetwork(voters, learners int, edit func(*Config)) *network {
	net := &network{}
	boot := testMembers(voters, learners)
	for _, m := range boot.Members {
		cfg := testConfig(m.ID)
		if edit != nil {
			edit(&cfg)
		}
		n := &node{id: m.ID, cfg: cfg, boot: boot}
		net.nodes = append(net.nodes, n)
		if err := n.start(true); err != nil {
			panic(err)
		}
		n.core.SetNow(0)
	}
	return net
}

func (net *network) node(id wire.NodeID) *node { return net.nodes[id-1] }

// start builds a core from the disk.
func (n *node) start(fresh bool) error {
	st := State{Vote: n.vote, Abstain: n.vote.Abstain, Fresh: fresh, First: 1, Last: wire.Index(len(n.log)), Members: n.boot}
	for _, e := range n.log {
		if k := len(st.Runs); k == 0 || st.Runs[k-1].Term != e.term {
			st.Runs = append(st.Runs, wire.TermRun{First: e.index, Term: e.term})
		}
		p, err := wire.ParseEntry(e.data)
		if err != nil {
			return err
		}
		if p.Type == wire.EntryConfig {
			m, err := p.Membership()
			if err != nil {
				return err
			}
			st.Older = append(st.Older, ConfigAt{st.MembersIndex, st.Members})
			st.Members, st.MembersIndex = m, e.index
		}
		st.LastTime, _ = p.Time()
	}
	n.cfg.Seed++
	core, err := New(n.cfg, st)
	n.core = core
	return err
}

// crash loses what is not durable.
func (n *node) crash() {
	n.core, n.ops, n.asked, n.hang, n.rd = nil, nil, nil, false, Ready{}
}

// ready takes a Ready: its batch goes to the disk's queue, its messages to the
// network, its reads are answered at once.
func (net *network) ready(n *node) bool {
	n.core.Ready(&n.rd)
	busy := n.rd.Seq != 0 || len(n.rd.Now) > 0 || len(n.rd.Reads) > 0
	if n.rd.Seq != 0 {
		op := storeOp{seq: n.rd.Seq}
		if n.rd.SaveVote {
			v := n.rd.Vote
			op.vote = &v
		}
		for _, run := range n.rd.Append {
			op.entries = append(op.entries, parseStored(run)...)
		}
		n.ops = append(n.ops, op)
		net.printf("%d stores %s", n.id, op)
	}
	for _, m := range n.rd.Now {
		m.Entries = slices.Clone(m.Entries)
		net.msgs = append(net.msgs, m)
	}
	for _, q := range n.rd.Reads {
		net.printf("%d reads [%d,%d) for %d", n.id, q.Lo, q.Hi, q.Peer)
		n.asked = append(n.asked, q)
	}
	if !net.late {
		n.answer(len(n.asked), nil)
	}
	return busy
}

// answer reads entries back for the first that were asked for, or fails to.
func (n *node) answer(count int, err error) bool {
	for _, q := range n.asked[:count] {
		var data []byte
		for i := q.Lo; i < q.Hi && int(i) <= len(n.log); i++ {
			e := n.log[i-1].data
			if len(data) > 0 && len(data)+len(e) > q.MaxBytes {
				break
			}
			data = append(data, e...)
		}
		n.core.EntriesRead(q.Peer, q.Lo, data, err)
	}
	n.asked = slices.Delete(n.asked, 0, count)
	return count > 0
}

func parseStored(run []byte) []stored {
	var out []stored
	for len(run) > 0 {
		e, err := wire.ParseEntry(run)
		if err != nil {
			panic(err)
		}
		out = append(out, stored{e.Index, e.Term, slices.Clone(run[:e.Size])})
		run = run[e.Size:]
	}
	return out
}

// persist makes an operation durable.
func (n *node) persist(op storeOp) {
	if op.vote != nil {
		n.vote, n.voted = *op.vote, true
	}
	for _, e := range op.entries {
		if int(e.index) > len(n.log)+1 {
			panic(fmt.Sprintf("gap: entry %d after %d", e.index, len(n.log)))
		}
		n.log = append(n.log[:e.index-1], e)
	}
}

// sync completes up to limit storage batches.
func (net *network) sync(n *node, limit int) bool {
	if n.hang || len(n.ops) == 0 || limit == 0 {
		return false
	}
	k := min(limit, len(n.ops))
	for _, op := range n.ops[:k] {
		n.persist(op)
	}
	seq := n.ops[k-1].seq
	n.ops = slices.Delete(n.ops, 0, k)
	net.printf("%d synced %d", n.id, seq)
	n.core.Synced(seq)
	return true
}

// deliver hands message k to its receiver; cut links and crashed nodes lose it.
func (net *network) deliver(k int) {
	m := net.msgs[k]
	net.msgs = slices.Delete(net.msgs, k, k+1)
	to := net.node(m.To)
	if to.core == nil || slices.Contains(net.cuts, [2]wire.NodeID{m.From, m.To}) {
		net.printf("lost %s", describe(&m))
		return
	}
	net.printf("%s", describe(&m))
	before := brief(to.core)
	if err := to.core.Step(&m); err != nil {
		net.printf("  %d: %v", to.id, err)
	}
	if after := brief(to.core); after != before {
		net.printf("  %d: %s", to.id, after)
	}
}

// settle runs everything but time until nothing is left to do.
func (net *network) settle() {
	if !net.settles() {
		panic("network does not settle")
	}
}

// settles does so, and reports whether that came to an end.
func (net *network) settles() bool {
	for range 10_000 {
		busy := false
		for _, n := range net.nodes {
			if n.core == nil {
				continue
			}
			before := brief(n.core)
			busy = net.ready(n) || busy
			busy = net.sync(n, len(n.ops)) || busy
			busy = n.answer(len(n.asked), nil) || busy
			if after := brief(n.core); after != before {
				net.printf("  %d: %s", n.id, after)
			}
		}
		if len(net.msgs) == 0 && !busy {
			return true
		}
		for range len(net.msgs) {
			net.deliver(0)
		}
	}
	return false
}

func (net *network) tick(n *node, count int) {
	for range count {
		net.now += tickNanos
		n.core.SetNow(net.now)
		before := brief(n.core)
		n.core.Tick()
		if after := brief(n.core); after != before {
			net.printf("  %d: %s", n.id, after)
		}
	}
}

// tickAll lets one tick of time pass on every node.
func (net *network) tickAll() {
	net.now += tickNanos
	for _, n := range net.nodes {
		if n.core != nil {
			n.core.SetNow(net.now)
			n.core.Tick()
		}
	}
}

// campaign lets the node's election timeout pass.
func (net *network) campaign(n *node) {
	n.core.sinceLeader = n.core.cfg.ElectionTicks
	n.core.everHeard, n.core.restarted = false, false
	n.core.elapsed = n.core.timeout
	net.tick(n, 1)
}

// elect makes a node the leader of a quiet cluster.
func (net *network) elect(id wire.NodeID) *node {
	for _, n := range net.nodes {
		if n.core != nil {
			n.core.sinceLeader = n.cfg.ElectionTicks
			n.core.everHeard, n.core.restarted = false, false
			if n.core.role == Leader && n.id != id {
				n.core.becomeFollower(n.core.term, 0)
			}
		}
	}
	net.campaign(net.node(id))
	net.settle()
	return net.node(id)
}

func (net *network) propose(id wire.NodeID, data string) (wire.Index, error) {
	return net.node(id).core.Propose(wire.EntryCommand, make([]byte, wire.StampBytes), []byte(data))
}

func (net *network) proposeConfig(id wire.NodeID, m wire.Membership) (wire.Index, error) {
	return net.node(id).core.Propose(wire.EntryConfig, make([]byte, 8), wire.AppendMembership(nil, &m))
}

func (net *network) printf(format string, args ...any) {
	if net.loud {
		fmt.Fprintf(&net.out, format+"\n", args...)
	}
}

func brief(r *Raft) string {
	return fmt.Sprintf("%v t%d leader %d commit %d last %d", r.role, r.term, r.leader, r.log.commit, r.log.last)
}

func (op storeOp) String() string {
	s := fmt.Sprintf("batch %d:", op.seq)
	if op.vote != nil {
		s += fmt.Sprintf(" vote t%d for %d", op.vote.Term, op.vote.For)
	}
	return s + " " + entryList(op.entries)
}

func entryList(es []stored) string {
	words := make([]string, len(es))
	for i, e := range es {
		words[i] = fmt.Sprintf("%d/t%d", e.index, e.term)
	}
	return "[" + strings.Join(words, " ") + "]"
}

func describe(m *wire.PeerMessage) string {
	s := fmt.Sprintf("%d→%d ", m.From, m.To)
	verdict := "granted"
	if m.Reject {
		verdict = "refused"
	}
	switch m.Type {
	case wire.FramePreVote:
		s += fmt.Sprintf("PreVote t%d last %d/t%d", m.Term, m.Index, m.LogTerm)
	case wire.FrameVote:
		s += fmt.Sprintf("Vote t%d last %d/t%d", m.Term, m.Index, m.LogTerm)
	case wire.FramePreVoteReply:
		s += fmt.Sprintf("PreVoteReply t%d %s", m.Term, verdict)
	case wire.FrameVoteReply:
		s += fmt.Sprintf("VoteReply t%d %s", m.Term, verdict)
	case wire.FrameAppend:
		s += fmt.Sprintf("Append t%d after %d/t%d %s commit %d", m.Term, m.Index, m.LogTerm, entryList(parseStored(m.Entries)), m.Commit)
	case wire.FrameAppendReply:
		s += fmt.Sprintf("AppendReply t%d %d", m.Term, m.Index)
		if m.Reject {
			s += fmt.Sprintf(" refused, hint %d/t%d", m.Hint, m.LogTerm)
		}
	case wire.FrameRound:
		s += fmt.Sprintf("Round t%d #%d commit %d", m.Term, m.Round, m.Commit)
	case wire.FrameRoundReply:
		s += fmt.Sprintf("RoundReply t%d #%d", m.Term, m.Round)
	}
	return s
}

// terms renders a core's log as the terms of its entries.
func terms(r *Raft) string {
	var s []string
	for i := wire.Index(1); i <= r.log.last; i++ {
		t, _ := r.log.term(i)
		s = append(s, fmt.Sprint(t))
	}
	return strings.Join(s, " ")
}

// preload gives a node a log of entries with the given terms, as if recovered.
func (net *network) preload(id wire.NodeID, vote wire.Term, terms ...wire.Term) *node {
	n := net.node(id)
	n.log = nil
	for i, t := range terms {
		e := stored{index: wire.Index(i + 1), term: t}
		body := binary.LittleEndian.AppendUint64(nil, uint64(i+1))
		e.data = wire.AppendEntry(nil, wire.EntryHead{Type: wire.EntryCommand, Index: e.index, Term: t}, make([]byte, wire.StampBytes), body)
		n.log = append(n.log, e)
	}
	n.crash()
	n.vote = wire.Vote{Term: vote}
	if err := n.start(false); err != nil {
		panic(err)
	}
	n.core.SetNow(net.now)
	n.core.restarted = false
	return n
}

func TestClusterElectsReplicatesAndReads(t *testing.T) {
	net := newNetwork(3, 0, nil)
	for range 60 {
		net.tickAll()
		net.settle()
	}
	var leader *node
	for _, n := range net.nodes {
		if n.core.role == Leader {
			leader = n
		}
	}
	if leader == nil {
		t.Fatal("no leader after 60 ticks")
	}
	i, err := net.propose(leader.id, "x")
	if err != nil {
		t.Fatal(err)
	}
	read, err := leader.core.ReadIndex()
	if err != nil {
		t.Fatal(err)
	}
	net.settle()
	if leader.core.Confirmed() < read.Round {
		t.Fatalf("round %d is not confirmed", read.Round)
	}
	for range 3 {
		net.tickAll()
		net.settle()
	}
	for _, n := range net.nodes {
		if n.core.Commit() != i {
			t.Errorf("node %d: commit %d, want %d", n.id, n.core.Commit(), i)
		}
	}
	if _, err := net.propose(leader.id%3+1, "x"); !errors.Is(err, ErrNotLeader) {
		t.Errorf("follower: %v", err)
	}
}

// voters renders the configuration in force.
func voters(r *Raft) string {
	m, at := r.Membership()
	var s strings.Builder
	s.WriteString(fmt.Sprintf("config %d:", at))
	for _, mb := range m.Members {
		s.WriteString(fmt.Sprintf(" %v %d", mb.Role, mb.ID))
	}
	if len(m.Outgoing) > 0 {
		s.WriteString(fmt.Sprintf(", outgoing %v", m.Outgoing))
	}
	return s.String()
}
