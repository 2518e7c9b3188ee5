package raft

import (
	"testing"
	"testing/quick"

	"github.com/dnode-engine/dnode/wire"
)

// reached says by counting whether more than half of the chosen peers have v.
func reached(peers []peer, chosen func(*peer) bool, v wire.Index) bool {
	have, all := 0, 0
	for i := range peers {
		if chosen(&peers[i]) {
			all++
			if peers[i].match >= v {
				have++
			}
		}
	}
	return 2*have > all
}

func TestQuorumValueIsTheHighestThatBothMajoritiesReached(t *testing.T) {
	incoming := func(p *peer) bool { return p.voter }
	outgoing := func(p *peer) bool { return p.outgoing }
	f := func(match []uint8, roles []uint8, joint bool) bool {
		r := &Raft{}
		for i, m := range match {
			if i == len(roles) || i == wire.MaxMembers {
				break
			}
			r.peers = append(r.peers, peer{match: wire.Index(m % 16), voter: roles[i]&1 != 0, outgoing: joint && roles[i]&2 != 0})
		}
		want := wire.Index(0)
		for v := wire.Index(1); v <= 16; v++ {
			anyOut := false
			for i := range r.peers {
				anyOut = anyOut || r.peers[i].outgoing
			}
			if reached(r.peers, incoming, v) && (!anyOut || reached(r.peers, outgoing, v)) {
				want = v
			}
		}
		return wire.Index(r.quorumValue(matchOf)) == want
	}
	if err := quick.Check(f, &quick.Config{MaxCount: 20_000}); err != nil {
		t.Error(err)
	}
}

// Any two quorums of one configuration share a voter, and so do quorums of a
// configuration and of the joint one that follows it.
func TestQuorumsIntersect(t *testing.T) {
	wins := func(voters, outgoing, votes uint) bool {
		r := &Raft{}
		for i := range 6 {
			p := peer{voter: voters>>i&1 == 1, outgoing: outgoing>>i&1 == 1}
			if votes>>i&1 == 1 {
				p.vote = granted
			}
			r.peers = append(r.peers, p)
		}
		return r.quorumValue(grantedOf) == 1
	}
	for old := uint(1); old < 16; old++ {
		for next := uint(1); next < 16; next++ {
			for votes := range uint(16) {
				rest := ^votes & 15
				joint := wins(next, old, votes)
				if joint && (wins(old, 0, rest) || wins(next, 0, rest) || wins(next, old, rest)) {
					t.Fatalf("old %04b, new %04b: %04b and %04b both win", old, next, votes, rest)
				}
			}
		}
	}
}
