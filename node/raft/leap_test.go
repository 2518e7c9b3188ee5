package raft

import (
	"testing"

	"github.com/dnode-engine/dnode/wire"
)

// A cluster of which some members were led many leaps astray finds one leader,
// and never two in a term, wherever the astray ones are.
func TestMembersFarApartMeet(t *testing.T) {
	for _, astray := range [][]int{{3}, {1}, {1, 2}, {2, 3}, {1, 2, 3}} {
		net := newNetwork(3, 0, nil)
		net.elect(1)
		net.settle()
		for k, id := range astray {
			n := net.nodes[id-1]
			n.crash()
			n.vote.Term += maxLeap*20*wire.Term(k+1) + 3
			n.vote.For = 0
			if err := n.start(false); err != nil {
				t.Fatal(err)
			}
			n.core.SetNow(net.now)
		}
		leaders := map[wire.Term]wire.NodeID{}
		commit := net.nodes[0].core.log.commit
		for range 1000 {
			net.tickAll()
			net.settle()
			for _, n := range net.nodes {
				if n.core.role != Leader {
					continue
				}
				if was, ok := leaders[n.core.term]; ok && was != n.id {
					t.Fatalf("%v astray: %d and %d lead term %d", astray, was, n.id, n.core.term)
				}
				leaders[n.core.term] = n.id
				commit = max(commit, n.core.log.commit)
			}
		}
		for _, n := range net.nodes {
			if n.core.leader == 0 || n.core.term != net.nodes[0].core.term || n.core.log.commit < commit {
				t.Errorf("%v astray: %s", astray, brief(n.core))
			}
		}
	}
}
