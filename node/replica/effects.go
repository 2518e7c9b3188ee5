package replica

import (
	"github.com/dnode-engine/dnode/wire"
)

// Effects ends the batch and returns what is to be done, in this order: hand
// Store and Reads to the disk, write Peers and Replies. It is valid until the
// next Begin.
func (r *Replica) Effects() *Effects {
	if r.fenced == nil {
		r.assignReads()
		r.raft.Ready(&r.ready)
		r.followLeadership()
		r.collect()
		r.apply()
	}
	if r.fenced == nil {
		r.serveReads()
	}
	if n := r.raft.MembershipChanges(); n != r.changes {
		r.changes = n
		r.fx.Membership = true
	}
	for i := range r.peers {
		if p := &r.peers[i]; len(p.buf) > 0 {
			r.fx.Peers = append(r.fx.Peers, PeerFrames{To: p.to, Bytes: p.buf})
		}
	}
	for _, p := range r.replies {
		r.fx.Replies = append(r.fx.Replies, Reply{Conn: p.conn, Bytes: r.out[p.lo:p.hi:p.hi], Request: p.request, Kind: p.kind, Code: p.code})
	}
	return &r.fx
}

// collect turns the core's Ready into effects.
func (r *Replica) collect() {
	rd := &r.ready
	if rd.Seq != 0 {
		r.fx.Store = Store{Seq: rd.Seq, SaveVote: rd.SaveVote, Vote: rd.Vote, Append: rd.Append, Last: r.raft.Status().Last}
	}
	for i := range rd.Now {
		p := r.peer(rd.Now[i].To)
		p.buf = wire.AppendPeerFrame(p.buf, &rd.Now[i])
	}
	for _, q := range rd.Reads {
		r.fx.Reads = append(r.fx.Reads, ReadRequest{Peer: q.Peer, Lo: q.Lo, Hi: q.Hi, MaxBytes: q.MaxBytes})
	}
}

func (r *Replica) peer(id wire.NodeID) *peerBuffer {
	for i := range r.peers {
		if r.peers[i].to == id {
			return &r.peers[i]
		}
	}
	r.peers = append(r.peers, peerBuffer{to: id})
	return &r.peers[len(r.peers)-1]
}
