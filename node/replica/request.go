package replica

import (
	"slices"

	"github.com/dnode-engine/dnode/node/raft"
	"github.com/dnode-engine/dnode/wire"
)

// request is one client frame on its way to an answer.
type request struct {
	conn ConnID
	id   uint64
	size int
	kind Kind
}

// Request takes one request frame of a client. Its bytes are not kept.
func (r *Replica) Request(conn ConnID, f wire.Frame) {
	q := request{conn: conn, id: f.ID, size: f.Size}
	switch f.Type {
	case wire.FrameWrite:
		r.write(q, f.Body)
	case wire.FrameRead:
		r.read(q, f.Body)
	case wire.FrameStatus:
		q.kind = KindStatus
		r.status(q)
	default:
		r.refuse(q, &wire.Error{Code: wire.CodeUnknownType, Text: "this node does not know the request"})
	}
}

func (r *Replica) write(q request, body []byte) {
	stamp, command, err := wire.ParseWrite(body)
	if err != nil {
		r.refuse(q, r.refusalOf(err))
		return
	}
	q.kind = writeKind(command)
	if stamp.Session != 0 {
		r.refuse(q, &wire.Error{Code: wire.CodeUnknownType, Text: "sessions are not supported by this version; send session 0"})
		return
	}
	if r.fenced != nil {
		r.refuse(q, r.fencedError())
		return
	}
	if r.leaderTerm == 0 {
		r.refuse(q, r.leaderError())
		return
	}
	frees, err := r.sm.Check(command)
	if err != nil {
		r.refuse(q, r.refusalOf(err))
		return
	}
	if r.full && !frees {
		r.refuse(q, &wire.Error{Code: wire.CodeNoSpace, RetryAfterMs: fullRetryMs, Text: "the leader's disk is full: only deletes are taken until there is room"})
		return
	}
	if r.owed > 0 && r.owed+q.size > r.cfg.Raft.MaxUncommittedBytes {
		r.refuse(q, &wire.Error{Code: wire.CodeBusy, RetryAfterMs: busyRetryMs, Text: "too many writes wait to be applied"})
		return
	}
	stamp.Time = r.time()
	head := wire.AppendStamp(r.stamp[:0], stamp)
	index, err := r.raft.Propose(wire.EntryCommand, head, command)
	if err != nil {
		r.refuse(q, r.refusalOf(err))
		return
	}
	r.abandonWrites(index, "another leader replaced the entry")
	r.writes.push(write{index: index, term: r.leaderTerm, conn: q.conn, id: q.id, bytes: int32(q.size), kind: q.kind})
	r.owed += q.size
}

func writeKind(command []byte) Kind {
	if len(command) == 0 {
		return KindOther
	}
	switch wire.Op(command[0]) {
	case wire.OpPut:
		return KindPut
	case wire.OpDelete:
		return KindDelete
	case wire.OpCAS:
		return KindCAS
	case wire.OpBatch:
		return KindBatch
	default:
		return KindOther
	}
}

// abandonWrites answers every pending write at or after the given index as
// unknown: its entry is no longer in this log, or nothing more will be heard of
// it here, but another member may still hold and commit it.
func (r *Replica) abandonWrites(from wire.Index, why string) {
	for r.writes.len() > 0 && r.writes.at(r.writes.len()-1).index >= from {
		w := r.writes.popBack()
		r.owed -= int(w.bytes)
		r.refuse(w.request(), &wire.Error{Code: wire.CodeUnknown, Text: why})
	}
}

func (r *Replica) read(q request, body []byte) {
	level, query, err := wire.ParseRead(body)
	if err != nil {
		r.refuse(q, r.refusalOf(err))
		return
	}
	q.kind = readKind(query)
	switch {
	case level == wire.Stale:
		r.answerRead(q, query)
	case r.fenced != nil:
		r.refuse(q, r.fencedError())
	case r.leaderTerm == 0:
		r.refuse(q, r.leaderError())
	case level == wire.Lease && r.leaseHolds():
		r.answerRead(q, query)
	case r.reads.len() >= maxReads || r.queries.len()+len(query) > maxQueryBytes:
		r.refuse(q, &wire.Error{Code: wire.CodeBusy, RetryAfterMs: busyRetryMs, Text: "too many reads wait for a quorum round"})
	default:
		at := r.queries.push(query)
		r.reads.push(read{conn: q.conn, id: q.id, at: at, size: int32(len(query)), bytes: int32(q.size), kind: q.kind})
	}
}

func readKind(query []byte) Kind {
	if len(query) == 0 {
		return KindOther
	}
	switch wire.QueryOp(query[0]) {
	case wire.QueryGet:
		return KindGet
	case wire.QueryScan:
		return KindScan
	default:
		return KindOther
	}
}

// leaseHolds reports whether the state here is as new as any majority's, by the
// clock: the lease counts from the send time of a confirmed round.
func (r *Replica) leaseHolds() bool {
	return r.now < r.raft.LeaseUntil() && r.applied >= r.raft.Commit()
}

// assignReads makes the reads that arrived since the last batch part of the
// quorum round that starts now. Before the first commit of the term they wait.
func (r *Replica) assignReads() {
	if r.reads.len() == r.assigned {
		return
	}
	if r.leaderTerm == 0 {
		r.dropReads()
		return
	}
	rd, err := r.raft.ReadIndex()
	if err == raft.ErrNotReady {
		return
	}
	if err != nil {
		r.dropReads()
		return
	}
	for i := r.assigned; i < r.reads.len(); i++ {
		w := r.reads.at(i)
		w.round, w.index = rd.Round, rd.Index
	}
	r.assigned = r.reads.len()
}

// dropReads sends all waiting reads elsewhere: leadership is lost. Nothing was
// carried out, so they may be asked again.
func (r *Replica) dropReads() {
	for r.reads.len() > 0 {
		w := r.popRead()
		r.refuse(w.request(), r.leaderError())
	}
}

func (r *Replica) popRead() read {
	w := r.reads.pop()
	r.assigned = max(0, r.assigned-1)
	r.queries.popTo(w.at + uint64(w.size))
	return w
}

// serveReads answers the reads whose round is confirmed and whose index is
// applied.
func (r *Replica) serveReads() {
	if r.leaderTerm == 0 {
		r.dropReads()
		return
	}
	confirmed := r.raft.Confirmed()
	for r.assigned > 0 {
		if r.Full() {
			r.fx.More = true
			return
		}
		w := r.reads.at(0)
		if w.round > confirmed || w.index > r.applied {
			return
		}
		r.answerRead(w.request(), r.queries.get(w.at, int(w.size)))
		r.popRead()
	}
}

func (r *Replica) answerRead(q request, query []byte) {
	start := len(r.out)
	r.out = wire.BeginFrame(r.out, wire.FrameReadReply, q.id)
	r.out = wire.AppendReplyHeader(r.out, r.applied)
	out, err := r.sm.Read(query, r.out)
	if err != nil {
		r.out = r.out[:start]
		r.refuse(q, r.refusalOf(err))
		return
	}
	r.out = out
	r.reply(q, start, 0)
}

func (r *Replica) status(q request) {
	s := r.Status()
	start := len(r.out)
	r.out = wire.BeginFrame(r.out, wire.FrameStatusReply, q.id)
	r.out = wire.AppendStatus(r.out, &s)
	r.reply(q, start, 0)
}

// Status describes this member. Its Members have the client addresses that they
// said last; they are shared with the replica and must not be changed.
func (r *Replica) Status() wire.NodeStatus {
	st := r.raft.Status()
	m := r.Membership()
	s := wire.NodeStatus{
		Name: r.cfg.Name, ID: r.cfg.Raft.ID, Role: wire.RoleFollower, State: wire.StateOK,
		Term: st.Term, Leader: st.Leader, Commit: st.Commit, Applied: r.applied, Last: st.Last,
		Hash: r.sm.Hash(), Cluster: m.Cluster, Members: r.reachable(m.Members),
	}
	self := m.Find(s.ID)
	switch {
	case st.Role == raft.Leader:
		s.Role = wire.RoleLeader
	case st.Role == raft.Candidate || st.Role == raft.PreCandidate:
		s.Role = wire.RoleCandidate
	case self != nil && self.Role == wire.Learner:
		s.Role = wire.RoleLearner
	}
	switch {
	case r.fenced != nil:
		s.State = wire.StateFenced
		s.Role = wire.RoleFollower
	case r.full:
		s.State = wire.StateNoSpace
	case st.Abstaining:
		s.State = wire.StateAbstaining
	}
	return s
}

// reachable returns the members with the client addresses that they said last: a
// member may have moved since the configuration was written.
func (r *Replica) reachable(members []wire.Member) []wire.Member {
	moved := members
	for i := range members {
		addr := r.clientAddress(members[i].ID)
		if addr == members[i].ClientAddr {
			continue
		}
		if &moved[0] == &members[0] {
			moved = slices.Clone(members)
		}
		moved[i].ClientAddr = addr
	}
	return moved
}

func (r *Replica) refuse(q request, e *wire.Error) {
	start := len(r.out)
	r.out = wire.BeginFrame(r.out, wire.FrameError, q.id)
	r.out = wire.AppendError(r.out, e)
	r.reply(q, start, e.Code)
}

// reply ends the frame that began at start and queues it.
func (r *Replica) reply(q request, start int, code wire.Code) {
	r.out = wire.EndFrame(r.out, start)
	r.replies = append(r.replies, pendingReply{conn: q.conn, lo: start, hi: len(r.out), request: q.size, kind: q.kind, code: code})
}
