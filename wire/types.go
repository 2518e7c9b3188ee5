package wire

import "fmt"

// Index is a position in the replicated log. The first entry has index 1;
// zero means "before the log".
type Index uint64

// Term is a Raft term. Zero is the term before the first election.
type Term uint64

// NodeID names a member inside one cluster. It is given out by the
// configuration, never reused, and never zero.
type NodeID uint64

// ReplicaID is the random identity of one data folder. A wiped node draws a
// new one, so that it can never vote as its old self.
type ReplicaID [16]byte

// ClusterID is the random identity of a cluster, recorded by the first
// configuration entry. Zero means "not yet founded".
type ClusterID [16]byte

func (id ReplicaID) String() string { return fmt.Sprintf("%x", id[:]) }

func (id ClusterID) String() string { return fmt.Sprintf("%x", id[:]) }

// IsZero reports whether the cluster has not been founded yet.
func (id ClusterID) IsZero() bool { return id == ClusterID{} }

// TermRun says that the entries from First up to the First of the next run
// (or the end of the log) have term Term.
//
// Invariant: in a slice of runs both First and Term are strictly increasing.
type TermRun struct {
	First Index
	Term  Term
}

// Vote is what a node must never forget: the highest term it has seen and
// whom it voted for in that term (zero: nobody).
type Vote struct {
	Term Term
	For  NodeID
	// Abstain: a vote may have been forgotten, and nothing was heard since from
	// a leader that makes up for it. Stored with the vote, so that a restart
	// does not end the duty.
	Abstain bool
}

// Role is a member's part in the configuration.
type Role uint8

// The roles. Zero is invalid on the wire.
const (
	Voter   Role = 1
	Learner Role = 2
)

func (r Role) String() string {
	switch r {
	case Voter:
		return "voter"
	case Learner:
		return "learner"
	default:
		return "invalid"
	}
}

// Member is one node of a configuration.
type Member struct {
	ID         NodeID
	Name       string
	Replica    ReplicaID
	Role       Role
	PeerAddr   string // where peers connect, host:port
	ClientAddr string // where clients connect, host:port; may be empty until known
}

// Membership is the payload of a configuration entry: who is in the cluster.
// While Outgoing is not empty the configuration is joint: decisions need a
// majority of the voters in Members and a majority of Outgoing.
//
// Invariant: Members is sorted by ID, without duplicates of ID or Name; every
// ID is below NextID.
type Membership struct {
	Cluster  ClusterID
	Level    uint32 // feature level: what the state machine may use
	NextID   NodeID
	Members  []Member
	Outgoing []NodeID
}

// Find returns the member with the given id, or nil.
func (m *Membership) Find(id NodeID) *Member {
	for i := range m.Members {
		if m.Members[i].ID == id {
			return &m.Members[i]
		}
	}
	return nil
}

// FindName returns the member with the given name, or nil.
func (m *Membership) FindName(name string) *Member {
	for i := range m.Members {
		if m.Members[i].Name == name {
			return &m.Members[i]
		}
	}
	return nil
}
