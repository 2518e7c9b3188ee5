package raft

import (
	"encoding/binary"
	"fmt"

	"github.com/dnode-engine/dnode/wire"
)

// probeBytes bounds what is sent to a peer whose log is not known yet.
const probeBytes = 64 << 10

// Propose appends an entry whose payload is head and body. Neither is kept.
// A configuration needs its 8-byte time as head and its encoding as body.
func (r *Raft) Propose(typ wire.EntryType, head, body []byte) (wire.Index, error) {
	if r.role != Leader {
		return 0, ErrNotLeader
	}
	if n := wire.EntryBytes(len(head) + len(body)); r.uncommitted > 0 && r.uncommitted+n > r.cfg.MaxUncommittedBytes {
		return 0, ErrBusy
	}
	if typ == wire.EntryCommand && r.crowded() { // others' disks commit what this one does not have
		return 0, ErrBusy
	}
	if typ != wire.EntryConfig {
		r.uncommitted += r.log.propose(typ, r.term, head, body)
		return r.log.last, nil
	}
	next, err := r.checkConfig(head, body)
	if err != nil {
		return 0, err
	}
	r.uncommitted += r.log.propose(typ, r.term, head, body)
	r.adoptConfigs([]ConfigAt{{r.log.last, next}})
	return r.log.last, nil
}

// sendAppends fills every peer's window.
func (r *Raft) sendAppends() {
	for i := range r.peers {
		if p := &r.peers[i]; p.id != r.cfg.ID {
			for r.sendAppend(p) {
			}
		}
	}
}

// sendAppend sends at most one message to p and reports whether another may follow.
func (r *Raft) sendAppend(p *peer) bool {
	budget := min(r.cfg.MaxAppendBytes, r.cfg.MaxInflightBytes-p.inflight.bytes)
	switch {
	case p.reading != 0 || p.state == Snapshot:
		return false
	case p.state == Probe:
		if p.probing {
			return false
		}
		budget = min(r.cfg.MaxAppendBytes, probeBytes)
	case p.next > r.log.last || p.inflight.full() || budget <= 0:
		return false
	}
	prev := p.next - 1
	if _, ok := r.log.term(prev); !ok {
		p.becomeProbe()
		p.state = Snapshot
		return false
	}
	entries, next := r.log.slice(p.next, r.log.last+1, budget)
	if len(entries) == 0 && p.next <= r.log.last {
		p.reading = p.next
		r.reads = append(r.reads, ReadRequest{Peer: p.id, Lo: p.next, Hi: min(r.log.durable, r.log.memFirst-1) + 1, MaxBytes: budget})
		return false
	}
	if len(entries) > budget && p.inflight.n > 0 {
		return false
	}
	r.sendEntries(p, entries, next)
	return p.state == Replicate
}

// sendEntries sends entries that begin at p.next and end before next.
func (r *Raft) sendEntries(p *peer, entries []byte, next wire.Index) {
	r.sendAt(p, entries)
	if p.state == Probe {
		p.probing, p.probe = true, sent{next - 1, len(entries)}
		return
	}
	p.inflight.add(next-1, len(entries))
	p.next = next
}

// sendAt sends an Append whose entries, if any, begin at p.next.
func (r *Raft) sendAt(p *peer, entries []byte) {
	prevTerm, _ := r.log.term(p.next - 1)
	p.commitSent = r.log.commit
	r.emit(wire.PeerMessage{
		Type: wire.FrameAppend, To: p.id, Index: p.next - 1, LogTerm: prevTerm,
		Commit: r.log.commit, Entries: entries,
	})
}

// EntriesRead answers a request of Ready.Reads. data is whole encoded entries
// from lo on; it must stay unchanged until what the next Ready returns is sent.
// With an error, or data that is no longer this log's, the peer is probed again.
func (r *Raft) EntriesRead(peer wire.NodeID, lo wire.Index, data []byte, err error) {
	p := r.find(peer)
	if r.role != Leader || p == nil || p.reading == 0 || p.reading != lo {
		return
	}
	p.reading = 0
	next, ok := r.ours(lo, data)
	if err != nil || !ok {
		p.becomeProbe()
		p.probing, p.probe = true, sent{} // until the next heartbeat
		return
	}
	if lo == p.next {
		r.sendEntries(p, data, next)
	}
}

// ours reports whether data is entries of this log from lo on, and where it
// ends. An entry with the same index and term is the same entry.
func (r *Raft) ours(lo wire.Index, data []byte) (wire.Index, bool) {
	if len(data) == 0 {
		return lo, false
	}
	for len(data) > 0 {
		if len(data) < wire.EntryHeaderBytes {
			return lo, false
		}
		size := int(binary.LittleEndian.Uint32(data))
		index := wire.Index(binary.LittleEndian.Uint64(data[8:]))
		term := wire.Term(binary.LittleEndian.Uint64(data[16:]))
		have, ok := r.log.term(lo)
		if index != lo || !ok || have != term || size < wire.EntryHeaderBytes || size > len(data) {
			return lo, false
		}
		data = data[size:]
		lo++
	}
	return lo, true
}

// stepAppendReply learns what a peer has on its disk, or where to look for the
// last common entry.
func (r *Raft) stepAppendReply(m *wire.PeerMessage) error {
	p := r.find(m.From)
	if p == nil || p.id == r.cfg.ID {
		return nil // removed meanwhile
	}
	if m.Index > r.log.last {
		return fmt.Errorf("%w: member %d answers for entry %d, the last is %d", ErrNonsense, m.From, m.Index, r.log.last)
	}
	p.active = true
	if m.Reject {
		r.refusedBy(p, m)
		return nil
	}
	expected := p.next - 1
	if m.Index > p.match {
		p.match = m.Index
		p.next = max(p.next, p.match+1)
		p.moved = true
		p.inflight.free(p.match)
	}
	switch {
	case p.state == Probe && p.match >= expected:
		p.becomeReplicate()
	case p.state == Snapshot && p.match+1 >= r.log.first:
		p.next = p.match + 1
		p.becomeProbe()
	}
	r.maybeCommit()
	return nil
}

// refusedBy backs off to the last position where both logs may agree.
func (r *Raft) refusedBy(p *peer, m *wire.PeerMessage) {
	stale := m.Index <= p.match || p.state == Snapshot ||
		p.state == Probe && m.Index != p.next-1 || m.Index >= p.next
	if stale {
		return
	}
	at, _ := r.log.conflict(min(m.Hint, m.Index), m.LogTerm)
	p.next = max(p.match+1, min(at+1, m.Index))
	p.becomeProbe()
}

// maybeCommit commits what a quorum has on its disks, if it is of this term: an
// older entry may be on a majority and still be superseded (Raft figure 8).
func (r *Raft) maybeCommit() {
	i := wire.Index(r.quorumValue(matchOf))
	if i <= r.log.commit || i < r.termStart {
		return
	}
	r.log.commit = i
	r.uncommitted = r.log.bytesAfter(i)
	r.forgetOldConfigs()
	self := r.find(r.cfg.ID)
	if r.configs[len(r.configs)-1].Index <= i && (self == nil || !self.voter && !self.outgoing) {
		r.becomeFollower(r.term, 0) // removed, and that is committed: thesis 4.2.2
	}
}

// heartbeat starts a round and looks after peers that are silent: a probe is
// repeated, and a pipeline without progress is asked how far it came, by an
// Append without entries behind everything that was sent. If something was lost
// it is refused; if the peer's disk is slow, nothing is sent twice.
func (r *Raft) heartbeat() {
	r.heartbeatLeft = r.cfg.HeartbeatTicks
	r.rounds.beat = true
	for i := range r.peers {
		p := &r.peers[i]
		if p.id == r.cfg.ID {
			continue
		}
		p.probing = false
		if p.state == Replicate && p.inflight.n > 0 && !p.moved {
			r.sendAt(p, nil)
		}
		p.moved = false
	}
}

// hurryCommit starts a round in the next tick if a peer has entries of which it
// was not yet told that they are committed. Under load appends tell it.
func (r *Raft) hurryCommit() {
	for i := range r.peers {
		p := &r.peers[i]
		if p.id != r.cfg.ID && p.commitSent < min(p.match, r.log.commit) {
			r.rounds.wanted = true
		}
	}
}

// PeerDown reports that the link to a peer was lost, and what was sent with it.
func (r *Raft) PeerDown(id wire.NodeID) {
	if p := r.find(id); p != nil && r.role == Leader && p.id != r.cfg.ID {
		p.next = p.match + 1
		p.becomeProbe()
		p.probing, p.probe = true, sent{} // until the next heartbeat, or PeerUp
	}
}

// PeerUp reports that a link to a peer is there: what waits is sent again.
func (r *Raft) PeerUp(id wire.NodeID) {
	p := r.find(id)
	if p == nil || p.id == r.cfg.ID {
		return
	}
	switch r.role {
	case Leader:
		p.probing = false
		r.rounds.wanted = true
	case PreCandidate, Candidate:
		if r.synced >= r.voteSeq {
			r.askVotes()
		}
	}
}

// Progress yields what a leader knows about each member, in order of id.
func (r *Raft) Progress(yield func(PeerProgress) bool) {
	for i := range r.peers {
		p := &r.peers[i]
		ok := yield(PeerProgress{
			ID: p.id, State: p.state, Voter: p.voter || p.outgoing, Active: p.active,
			Match: p.match, Next: p.next, InflightBytes: p.inflight.bytes,
		})
		if !ok {
			return
		}
	}
}
