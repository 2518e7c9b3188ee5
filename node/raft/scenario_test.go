package raft

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/dnode-engine/dnode/wire"
)

// TestScenarios runs testdata/*.txt; -update rewrites them, to be reviewed as a
// diff. The commands are the methods of scenario below.
func TestScenarios(t *testing.T) {
	runScenarios(t, func() func(*directive) string { return (&scenario{}).run })
}

type scenario struct{ net *network }

// run carries out one directive. "quiet" before it leaves out what it prints.
func (s *scenario) run(d *directive) string {
	quiet := d.cmd == "quiet"
	if quiet {
		d.cmd, d.args = d.args[0], d.args[1:]
	}
	if d.cmd == "cluster" {
		s.net = s.cluster(d)
		return ""
	}
	s.net.loud = !quiet
	s.net.out.Reset()
	if !s.events(d) && !s.faults(d) && !s.views(d) {
		return "unknown command\n"
	}
	return s.net.out.String()
}

func (s *scenario) cluster(d *directive) *network {
	return newNetwork(d.number("voters", 3), d.number("learners", 0), func(cfg *Config) {
		cfg.MaxAppendBytes = d.number("append", cfg.MaxAppendBytes)
		cfg.MaxInflightBytes = d.number("inflight", cfg.MaxInflightBytes)
		cfg.MaxUncommittedBytes = d.number("uncommitted", cfg.MaxUncommittedBytes)
		cfg.TailBytes = d.number("tail", cfg.TailBytes)
	})
}

// events are what a replica does to a core.
func (s *scenario) events(d *directive) bool {
	net := s.net
	id := wire.NodeID(d.arg(0, 1))
	switch d.cmd {
	case "campaign": // ID: its timer expires
		net.campaign(net.node(id))
	case "elect": // ID: campaign and settle
		net.elect(id)
	case "tick": // ID|all COUNT, without delivering anything
		for _, n := range net.nodes {
			if n.core != nil && (d.args[0] == "all" || n.id == id) {
				net.tick(n, d.arg(1, 1))
			}
		}
	case "run": // COUNT ticks on every node, settling after each
		for range d.arg(0, 1) {
			net.tickAll()
			net.settle()
		}
	case "ready": // ID
		net.ready(net.node(id))
	case "sync": // ID [BATCHES]
		n := net.node(id)
		before := brief(n.core)
		net.sync(n, d.arg(1, len(n.ops)))
		if after := brief(n.core); after != before {
			net.printf("  %d: %s", n.id, after)
		}
	case "settle":
		net.settle()
	case "propose": // ID [COUNT]
		for range d.arg(1, 1) {
			if i, err := net.propose(id, "x"); err != nil {
				net.printf("%v", err)
			} else {
				net.printf("entry %d", i)
			}
		}
	case "config": // ID voters=1,2 learners=3 outgoing=1,2,3
		if i, err := net.proposeConfig(id, s.members(d)); err != nil {
			net.printf("%v", err)
		} else {
			net.printf("entry %d", i)
		}
	case "read": // ID
		if t, err := net.node(id).core.ReadIndex(); err != nil {
			net.printf("%v", err)
		} else {
			net.printf("term %d round %d index %d", t.Term, t.Round, t.Index)
		}
	case "applied": // ID INDEX
		net.node(id).core.Applied(wire.Index(d.arg(1, 0)))
	default:
		return false
	}
	return true
}

// faults are what the world does.
func (s *scenario) faults(d *directive) bool {
	net := s.net
	id := wire.NodeID(d.arg(0, 1))
	switch d.cmd {
	case "deliver": // [from=ID] [to=ID] [type=Append]: what is in flight now
		for _, m := range s.take(d) {
			net.msgs = slices.Insert(net.msgs, 0, m)
			net.deliver(0)
		}
	case "drop":
		for _, m := range s.take(d) {
			net.printf("lost %s", describe(&m))
		}
	case "crash":
		net.node(id).crash()
	case "restart": // ID [abstain=1] [forget=1]
		n := net.node(id)
		if d.number("forget", 0) == 1 { // both slots of its vote are lost
			n.vote = wire.Vote{Abstain: true}
		}
		n.vote.Abstain = n.vote.Abstain || d.number("abstain", 0) == 1
		if err := n.start(false); err != nil {
			net.printf("%v", err)
			break
		}
		n.core.SetNow(net.now)
		net.printf("  %d: %s", n.id, brief(n.core))
	case "preload": // ID vote=TERM terms=1,1,2: restarted long ago with that log
		var ts []wire.Term
		for w := range strings.SplitSeq(d.value("terms", ""), ",") {
			if t, err := strconv.Atoi(w); err == nil {
				ts = append(ts, wire.Term(t))
			}
		}
		net.preload(id, wire.Term(d.number("vote", 0)), ts...)
	case "hang":
		net.node(id).hang = true
	case "unhang":
		net.node(id).hang = false
	case "cut": // FROM TO
		net.cuts = append(net.cuts, [2]wire.NodeID{id, wire.NodeID(d.arg(1, 0))})
	case "heal":
		net.cuts = nil
	case "down": // ID PEER: the link of ID to PEER is lost
		net.node(id).core.PeerDown(wire.NodeID(d.arg(1, 0)))
	case "up":
		net.node(id).core.PeerUp(wire.NodeID(d.arg(1, 0)))
	default:
		return false
	}
	return true
}

// views print state.
func (s *scenario) views(d *directive) bool {
	net := s.net
	switch d.cmd {
	case "status":
		for _, n := range net.nodes {
			if n.core == nil {
				net.printf("%d: down", n.id)
				continue
			}
			net.printf("%d: %s durable %d", n.id, brief(n.core), n.core.log.durable)
		}
	case "logs":
		for _, n := range net.nodes {
			if n.core != nil {
				net.printf("%d: %s", n.id, terms(n.core))
			}
		}
	case "rounds": // ID
		r := net.node(wire.NodeID(d.arg(0, 1))).core
		net.printf("confirmed %d, lease until %d ticks, now %d", r.Confirmed(), r.LeaseUntil()/tickNanos, net.now/tickNanos)
	case "memory": // ID
		st := net.node(wire.NodeID(d.arg(0, 1))).core.Status()
		net.printf("in memory from %d to %d, %d bytes", st.MemFirst, st.Last, st.MemBytes)
	case "progress": // ID
		for p := range net.node(wire.NodeID(d.arg(0, 1))).core.Progress {
			net.printf("%d: %v match %d next %d inflight %d", p.ID, p.State, p.Match, p.Next, p.InflightBytes)
		}
	case "members":
		for _, n := range net.nodes {
			if n.core != nil {
				net.printf("%d: %s", n.id, voters(n.core))
			}
		}
	default:
		return false
	}
	return true
}

// take removes the messages that match from the network.
func (s *scenario) take(d *directive) []wire.PeerMessage {
	var out, rest []wire.PeerMessage
	for _, m := range s.net.msgs {
		name := strings.Fields(describe(&m))[1]
		if (d.value("from", "") == "" || d.number("from", 0) == int(m.From)) &&
			(d.value("to", "") == "" || d.number("to", 0) == int(m.To)) &&
			(d.value("type", "") == "" || d.value("type", "") == name) {
			out = append(out, m)
		} else {
			rest = append(rest, m)
		}
	}
	s.net.msgs = rest
	return out
}

func (s *scenario) members(d *directive) wire.Membership {
	m := wire.Membership{NextID: 64}
	add := func(key string, role wire.Role) {
		for w := range strings.SplitSeq(d.value(key, ""), ",") {
			if id, err := strconv.Atoi(w); err == nil {
				m.Members = append(m.Members, wire.Member{ID: wire.NodeID(id), Name: fmt.Sprintf("n%d", id), Role: role})
			}
		}
	}
	add("voters", wire.Voter)
	add("learners", wire.Learner)
	slices.SortFunc(m.Members, func(a, b wire.Member) int { return int(a.ID) - int(b.ID) })
	for w := range strings.SplitSeq(d.value("outgoing", ""), ",") {
		if id, err := strconv.Atoi(w); err == nil {
			m.Outgoing = append(m.Outgoing, wire.NodeID(id))
		}
	}
	return m
}
