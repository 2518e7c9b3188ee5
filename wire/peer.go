package wire

// PeerMessage is one message between members. It is a value: the Raft core
// makes and takes it, the frame layer encodes it (see doc.go for which fields
// each type carries).
type PeerMessage struct {
	Type     FrameType
	From, To NodeID // To is not encoded: a link has one receiver
	Term     Term

	// Append: the entry before Entries. AppendReply: see Reject. Vote and
	// PreVote: the candidate's last entry.
	Index   Index
	LogTerm Term

	Commit Index // Append, Round: the leader's commit index

	// AppendReply: the request at Index was refused because of the log;
	// Hint and LogTerm say where to go on. Otherwise Index is durable and
	// verified against this leader in this term.
	// VoteReply, PreVoteReply: not granted.
	Reject bool
	Hint   Index

	Round uint64 // Round, RoundReply: number of the quorum round in this term

	Entries []byte // Append: encoded entries, back to back; aliases its source
}
