package wire

import (
	"encoding/binary"
	"fmt"
)

// WriteHeaderBytes precede the command in the body of a write.
const WriteHeaderBytes = 24

// AppendWrite appends the body of a write: session (8), sequence number (8),
// acknowledged-up-to (8), command. A write without a session has three zeros.
// The stamp's time is the leader's to set and is not sent.
func AppendWrite(dst []byte, s Stamp, command []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, s.Session)
	dst = le.AppendUint64(dst, s.Seq)
	dst = le.AppendUint64(dst, s.Acked)
	return append(dst, command...)
}

// ParseWrite decodes the body of a write. The stamp's time is zero, the
// command aliases b and has not been looked into. The error wraps ErrMalformed
// or ErrTooLarge.
func ParseWrite(b []byte) (Stamp, []byte, error) {
	r := NewReader(b)
	s := Stamp{Session: r.U64(), Seq: r.U64(), Acked: r.U64()}
	if s.Session == 0 && s.Seq|s.Acked != 0 {
		r.Fail("sequence number without a session")
	}
	if s.Session != 0 && s.Seq <= s.Acked {
		r.Fail("sequence number is not above what was acknowledged")
	}
	command := r.Rest()
	if err := r.Finish(); err != nil {
		return Stamp{}, nil, err
	}
	if len(command) > MaxCommandBytes {
		return Stamp{}, nil, fmt.Errorf("%w: command of %d bytes, at most %d are allowed", ErrTooLarge, len(command), MaxCommandBytes)
	}
	return s, command, nil
}

// Consistency is what a read promises.
type Consistency uint8

// The levels. Zero is invalid.
const (
	Linearizable Consistency = 1 // a quorum confirmed the leader after the read arrived
	Lease        Consistency = 2 // the leader's lease holds, by its clock
	Stale        Consistency = 3 // what the node asked has applied
)

// String gives the command line's word for the level.
func (c Consistency) String() string {
	switch c {
	case Linearizable:
		return "linearizable"
	case Lease:
		return "lease"
	case Stale:
		return "stale"
	default:
		return fmt.Sprintf("consistency %d", uint8(c))
	}
}

// AppendRead appends the body of a read: consistency (1), query.
func AppendRead(dst []byte, c Consistency, query []byte) []byte {
	dst = append(dst, byte(c))
	return append(dst, query...)
}

// ParseRead decodes the body of a read. The query aliases b and has not been
// looked into.
func ParseRead(b []byte) (Consistency, []byte, error) {
	r := NewReader(b)
	c := Consistency(r.U8())
	if c < Linearizable || c > Stale {
		r.Fail("unknown consistency level")
	}
	query := r.Rest()
	return c, query, r.Finish()
}

// ReplyHeaderBytes precede the result in the body of a reply.
const ReplyHeaderBytes = 8

// AppendReplyHeader appends what precedes the result in the body of a write's
// or read's reply: the revision, 8 bytes. For a write that is the index of its
// entry, for a read the applied index that it saw.
func AppendReplyHeader(dst []byte, revision Index) []byte {
	return binary.LittleEndian.AppendUint64(dst, uint64(revision))
}

// ParseReply splits the body of a write's or read's reply into the revision
// and the result, which aliases b.
func ParseReply(b []byte) (Index, []byte, error) {
	r := NewReader(b)
	revision := Index(r.U64())
	result := r.Rest()
	return revision, result, r.Finish()
}

// NodeState says how well a node is.
type NodeState uint8

// The states. Zero is invalid; a value that is not listed comes from a newer
// node.
const (
	StateOK         NodeState = 1
	StateFenced     NodeState = 2 // a sync failed: it neither votes nor acknowledges
	StateNoSpace    NodeState = 3 // the disk is nearly full: only deletes are taken
	StateAbstaining NodeState = 4 // its vote is not to be trusted until it has caught up
)

// String gives the command line's word for the state.
func (s NodeState) String() string {
	switch s {
	case StateOK:
		return "ok"
	case StateFenced:
		return "fenced"
	case StateNoSpace:
		return "nospace"
	case StateAbstaining:
		return "abstaining"
	default:
		return fmt.Sprintf("state %d", uint8(s))
	}
}

// RaftRole is what a node is doing in its term, other than Role, which is its
// part in the configuration.
type RaftRole uint8

// The roles. Zero is invalid.
const (
	RoleFollower  RaftRole = 1
	RoleCandidate RaftRole = 2 // before or during an election
	RoleLeader    RaftRole = 3
	RoleLearner   RaftRole = 4
)

// String gives the command line's word for the role.
func (r RaftRole) String() string {
	switch r {
	case RoleFollower:
		return "follower"
	case RoleCandidate:
		return "candidate"
	case RoleLeader:
		return "leader"
	case RoleLearner:
		return "learner"
	default:
		return fmt.Sprintf("role %d", uint8(r))
	}
}

// NodeStatus is what a node says about itself. It is answered at once, by any
// node in any state.
type NodeStatus struct {
	Name    string
	ID      NodeID
	Role    RaftRole
	State   NodeState
	Term    Term
	Leader  NodeID // zero: none known
	Commit  Index
	Applied Index
	Last    Index  // of its log, durable or not
	Hash    uint64 // of its state at Applied
	Cluster ClusterID
	Members []Member // sorted by ID
}

// AppendStatus appends the body of a status reply: id (8), term (8), leader
// (8), commit (8), applied (8), last (8), hash (8), cluster (16), role (1),
// state (1), zero (2), name behind its length, then the members.
func AppendStatus(dst []byte, s *NodeStatus) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, uint64(s.ID))
	dst = le.AppendUint64(dst, uint64(s.Term))
	dst = le.AppendUint64(dst, uint64(s.Leader))
	dst = le.AppendUint64(dst, uint64(s.Commit))
	dst = le.AppendUint64(dst, uint64(s.Applied))
	dst = le.AppendUint64(dst, uint64(s.Last))
	dst = le.AppendUint64(dst, s.Hash)
	dst = append(dst, s.Cluster[:]...)
	dst = append(dst, byte(s.Role), byte(s.State), 0, 0)
	dst = appendText(dst, s.Name)
	return appendMembers(dst, s.Members)
}

// ParseStatus decodes the body of a status reply.
func ParseStatus(b []byte) (NodeStatus, error) {
	r := NewReader(b)
	s := NodeStatus{
		ID: NodeID(r.U64()), Term: Term(r.U64()), Leader: NodeID(r.U64()),
		Commit: Index(r.U64()), Applied: Index(r.U64()), Last: Index(r.U64()), Hash: r.U64(),
		Cluster: ClusterID(r.id()), Role: RaftRole(r.U8()), State: NodeState(r.U8()),
	}
	if r.U16() != 0 {
		r.Fail("reserved bytes are set")
	}
	if s.Role == 0 || s.State == 0 {
		r.Fail("role or state is zero")
	}
	s.Name = r.Text(MaxNameBytes)
	s.Members = r.members()
	if err := r.Finish(); err != nil {
		return NodeStatus{}, err
	}
	return s, nil
}
