package replica

import (
	"github.com/dnode-engine/dnode/node/raft"
	"github.com/dnode-engine/dnode/wire"
)

// ConnID is the shell's name for one client connection. It is never reused, so
// that a reply to a connection that is gone cannot reach another.
type ConnID uint64

// StateMachine is what a replicated log is applied to. All methods are called
// from the goroutine that owns the replica.
type StateMachine interface {
	// Apply carries out one committed command and appends its result to dst.
	// It must depend on nothing but the state, index and command. The command
	// is valid only during the call.
	Apply(index wire.Index, command, dst []byte) []byte
	// Read answers a query from the present state, appending to dst. An error
	// wraps wire.ErrMalformed or wire.ErrTooLarge; dst is then unchanged.
	Read(query, dst []byte) ([]byte, error)
	// Check says whether a command may be proposed at all: its syntax and
	// every limit that Apply relies on. frees says that the command can only
	// make the state smaller: such are accepted even when the disk is full.
	Check(command []byte) (frees bool, err error)
	// Hash is a hash of the state, equal on every member that applied the
	// same entries.
	Hash() uint64
}

// LogStore is where a replica's log and vote are kept. node/disk calls it from
// one goroutine at a time, in the order of the effects.
type LogStore interface {
	// Append writes one group: runs of whole encoded entries with contiguous
	// indexes. If the first index is not after the last, the group supersedes
	// that entry and all after it. Nothing is durable before Sync.
	Append(runs [][]byte) error
	// Sync makes all that was appended durable. After an error the store is
	// fenced for ever.
	Sync() error
	// Read appends to dst the encoded entries from lo on, at least one and no
	// more than maxBytes unless the first alone is larger.
	Read(dst []byte, lo wire.Index, maxBytes int) ([]byte, error)
	// SaveVote makes the vote durable before it returns.
	SaveVote(v wire.Vote) error
	// Seal attests the last group when the log is idle.
	Seal() error
	// Close releases the files. It is called once, last.
	Close() error
}

// State is what recovery found and a replica starts from.
type State = raft.State

// ConfigAt is a configuration in a State and the index of its entry.
type ConfigAt = raft.ConfigAt

// Config of a replica. Its id, limits and timeouts are in Raft.
type Config struct {
	Raft       raft.Config
	Name       string
	ClientAddr string         // where this member takes client requests; empty: as its configuration says
	NewCluster wire.ClusterID // recorded by the first configuration entry, if this member writes it
	BatchBytes int            // entries applied in one batch, and about so many of replies. Zero: 1 MiB
}

// Store is one storage batch: first the vote, then the entries, then one sync.
type Store struct {
	Seq      uint64 // zero: nothing to store
	SaveVote bool
	Vote     wire.Vote
	Append   [][]byte   // runs of encoded entries, contiguous; immutable. The outer slice is valid until the next Begin
	Last     wire.Index // the last index of Append
}

// Completion answers all storage batches up to Seq.
type Completion struct {
	Seq uint64
	Err error // the disk failed: the replica is fenced
}

// ReadRequest asks for entries that are no longer in memory.
type ReadRequest struct {
	Peer     wire.NodeID // for whom; zero: to be applied here
	Lo, Hi   wire.Index  // inclusive, exclusive
	MaxBytes int
}

// ReadDone answers a ReadRequest. Data is handed over: nobody changes it later.
type ReadDone struct {
	Peer   wire.NodeID
	Lo, Hi wire.Index // of the request
	Data   []byte     // entries from Lo on; may go beyond Hi
	Err    error
}

// PeerFrames are encoded frames for one member, to be written to its link or,
// if there is none, dropped.
type PeerFrames struct {
	To    wire.NodeID
	Bytes []byte
}

// Reply is one encoded frame for one client connection.
type Reply struct {
	Conn    ConnID
	Bytes   []byte
	Request int       // bytes of the request that this answers, for its credit
	Kind    Kind      // what was asked
	Code    wire.Code // zero: answered; else the error
}

// Kind is what a request asked for, for the metrics.
type Kind uint8

// The kinds of requests.
const (
	KindOther Kind = iota
	KindPut
	KindDelete
	KindCAS
	KindBatch
	KindGet
	KindScan
	KindStatus
	Kinds int = iota
)

func (k Kind) String() string {
	return [...]string{"other", "put", "delete", "cas", "batch", "get", "scan", "status"}[k]
}

// Effects is what a batch of events wants done. It and all slices in it are
// valid until the next Begin; what Store and ReadDone memory points to is
// immutable and stays valid.
type Effects struct {
	Store      Store
	Reads      []ReadRequest
	Peers      []PeerFrames
	Replies    []Reply
	More       bool // work is left: start another batch soon
	Membership bool // the configuration changed: see Replica.Membership
	Founded    bool // the first configuration entry is committed: record the cluster id
}
