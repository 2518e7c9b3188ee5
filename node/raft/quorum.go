package raft

import "github.com/dnode-engine/dnode/wire"

// majority returns the highest value that more than half of values have
// reached; zero for none. It sorts values, which are few.
func majority(values []uint64) uint64 {
	n := len(values)
	if n == 0 {
		return 0
	}
	for i := 1; i < n; i++ {
		for k := i; k > 0 && values[k] > values[k-1]; k-- {
			values[k], values[k-1] = values[k-1], values[k]
		}
	}
	return values[n/2] // descending: n/2+1 values are at least this
}

// quorumValue returns the highest value that a majority of the voters has
// reached; while the configuration is joint, a majority of the outgoing voters
// as well. Learners are never counted.
func (r *Raft) quorumValue(value func(*peer) uint64) uint64 {
	var in, out [wire.MaxMembers]uint64
	nIn, nOut := 0, 0
	for i := range r.peers {
		p := &r.peers[i]
		if p.voter {
			in[nIn] = value(p)
			nIn++
		}
		if p.outgoing {
			out[nOut] = value(p)
			nOut++
		}
	}
	v := majority(in[:nIn])
	if nOut > 0 {
		v = min(v, majority(out[:nOut]))
	}
	return v
}

func matchOf(p *peer) uint64 { return uint64(p.match) }

func roundOf(p *peer) uint64 { return p.acked }

func activeOf(p *peer) uint64 { return one(p.active) }

func grantedOf(p *peer) uint64 { return one(p.vote == granted) }

func notRefusedOf(p *peer) uint64 { return one(p.vote != refused) }

func one(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
