package raft

import (
	"fmt"
	"slices"

	"github.com/dnode-engine/dnode/wire"
)

// Membership returns the effective configuration (that of the newest
// configuration entry in the log, committed or not) and its index, zero for
// the bootstrap configuration. It must not be modified.
func (r *Raft) Membership() (*wire.Membership, wire.Index) {
	c := &r.configs[len(r.configs)-1]
	return &c.Members, c.Index
}

// MembershipChanges returns how often the effective configuration has changed.
// Its index alone does not tell: another leader's entry may take the same place.
func (r *Raft) MembershipChanges() uint64 { return r.changes }

// checkConfig decides whether the proposed configuration may follow the
// current one: one at a time; voters change only through a joint configuration
// (thesis 4.3), and only after the leader committed in its term (M1).
func (r *Raft) checkConfig(head, body []byte) (wire.Membership, error) {
	cur, at := r.Membership()
	if at > r.log.commit {
		return wire.Membership{}, ErrConfigPending
	}
	next, err := wire.ParseMembership(body)
	if err != nil || len(head) != 8 {
		return wire.Membership{}, fmt.Errorf("%w: head of %d bytes, %w", ErrBadConfig, len(head), err)
	}
	same := sameVoters(cur, &next)
	switch {
	case len(cur.Outgoing) == 0 && len(next.Outgoing) == 0 && same:
		return next, nil
	case r.log.commit < r.termStart:
		return next, ErrNotReady
	case len(cur.Outgoing) == 0 && len(next.Outgoing) > 0 && outgoingAre(&next, cur):
		return next, nil // enter the joint configuration
	case len(cur.Outgoing) > 0 && len(next.Outgoing) == 0 && same:
		return next, nil // leave it
	}
	return next, ErrBadConfig
}

func isVoter(m *wire.Membership, id wire.NodeID) bool {
	p := m.Find(id)
	return p != nil && p.Role == wire.Voter
}

// mayLead reports whether this node is a voter of the configuration in force,
// or of one before it that may still be the committed one. A node that its own
// uncommitted entry removes must be able to lead once more, without counting
// itself: nobody else may have that entry, and those who miss it cannot win.
func (r *Raft) mayLead() bool {
	for i := range r.configs {
		m := &r.configs[i].Members
		if isVoter(m, r.cfg.ID) || slices.Contains(m.Outgoing, r.cfg.ID) {
			return true
		}
	}
	return false
}

func sameVoters(a, b *wire.Membership) bool {
	for i := range a.Members {
		if id := a.Members[i].ID; isVoter(a, id) != isVoter(b, id) {
			return false
		}
	}
	for i := range b.Members {
		if id := b.Members[i].ID; isVoter(a, id) != isVoter(b, id) {
			return false
		}
	}
	return true
}

// outgoingAre reports whether next's outgoing voters are cur's voters.
func outgoingAre(next, cur *wire.Membership) bool {
	n := 0
	for i := range cur.Members {
		if cur.Members[i].Role != wire.Voter {
			continue
		}
		if !slices.Contains(next.Outgoing, cur.Members[i].ID) {
			return false
		}
		n++
	}
	return n == len(next.Outgoing)
}

// adoptConfigs puts configurations into force, as soon as they are in the log.
func (r *Raft) adoptConfigs(configs []ConfigAt) {
	if len(configs) > 0 {
		r.configs = append(r.configs, configs...)
		r.rebuildPeers()
	}
}

// truncate removes entries from the log, and with them the configurations that
// they put into force.
func (r *Raft) truncate(from wire.Index) {
	r.log.truncate(from)
	n := len(r.configs)
	for n > 1 && r.configs[n-1].Index >= from {
		n--
	}
	if n < len(r.configs) {
		r.configs = slices.Delete(r.configs, n, len(r.configs))
		r.rebuildPeers()
	}
}

// forgetOldConfigs drops configurations that can no longer come back.
func (r *Raft) forgetOldConfigs() {
	n := 0
	for n+1 < len(r.configs) && r.configs[n+1].Index <= r.log.commit {
		n++
	}
	if n > 0 {
		r.configs = slices.Delete(r.configs, 0, n)
	}
}

// rebuildPeers makes one peer for each member of the configuration in force,
// keeping what is known about those that stay.
func (r *Raft) rebuildPeers() {
	m, _ := r.Membership()
	peers := make([]peer, 0, len(m.Members))
	for i := range m.Members {
		mb := &m.Members[i]
		p := peer{id: mb.ID}
		if old := r.find(mb.ID); old != nil {
			p = *old
		} else {
			p.reset(r.log.last)
		}
		p.voter = mb.Role == wire.Voter
		p.outgoing = slices.Contains(m.Outgoing, mb.ID)
		peers = append(peers, p)
	}
	r.peers = peers
	r.changes++
}

// find returns the peer with the given id, or nil.
func (r *Raft) find(id wire.NodeID) *peer {
	for i := range r.peers {
		if r.peers[i].id == id {
			return &r.peers[i]
		}
	}
	return nil
}

// soleVoter reports whether this node alone is a quorum.
func (r *Raft) soleVoter() bool {
	for i := range r.peers {
		p := &r.peers[i]
		if (p.voter || p.outgoing) != (p.id == r.cfg.ID) {
			return false
		}
	}
	return true
}
