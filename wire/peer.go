package wire

import (
	"encoding/binary"
	"fmt"
)

// PeerMessage is one message between members. It is a value: the Raft core
// makes and takes it, the frame layer encodes it (see doc.go for which fields
// each type uses).
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

// PeerHeaderBytes precede the entries in the body of a peer message.
const PeerHeaderBytes = 64

// AppendPeerFrame appends a whole frame with id 0. All types share one body:
// from (8), term (8), index (8), log term (8), commit (8), hint (8), round
// (8), reject (1), zero (7), entries. Fields that the type does not use are
// zero. It keeps nothing of m.
func AppendPeerFrame(dst []byte, m *PeerMessage) []byte {
	start := len(dst)
	dst = BeginFrame(dst, m.Type, 0)
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, uint64(m.From))
	dst = le.AppendUint64(dst, uint64(m.Term))
	dst = le.AppendUint64(dst, uint64(m.Index))
	dst = le.AppendUint64(dst, uint64(m.LogTerm))
	dst = le.AppendUint64(dst, uint64(m.Commit))
	dst = le.AppendUint64(dst, uint64(m.Hint))
	dst = le.AppendUint64(dst, m.Round)
	dst = append(dst, bit(m.Reject), 0, 0, 0, 0, 0, 0, 0)
	dst = append(dst, m.Entries...)
	return EndFrame(dst, start)
}

// ParsePeer decodes a message between members. Entries alias f.Body and are
// not looked into: ParseEntry verifies each before it is used. A frame with
// FlagS2 must be decompressed, and the flag cleared, before. It allocates
// nothing unless it fails.
func ParsePeer(f Frame) (PeerMessage, error) {
	if !isPeerMessage(f.Type) || f.Flags&FlagS2 != 0 {
		return PeerMessage{}, fmt.Errorf("%w: %v with flags %#02x is not a peer message", ErrMalformed, f.Type, uint8(f.Flags))
	}
	r := NewReader(f.Body)
	m := PeerMessage{
		Type: f.Type, From: NodeID(r.U64()), Term: Term(r.U64()),
		Index: Index(r.U64()), LogTerm: Term(r.U64()), Commit: Index(r.U64()), Hint: Index(r.U64()),
		Round: r.U64(),
	}
	flags := r.U64()
	if flags > 1 {
		r.Fail("reserved bytes are set")
	}
	m.Reject = flags == 1
	if m.From == 0 {
		r.Fail("sender is zero")
	}
	if f.Type == FrameAppend {
		m.Entries = r.Rest()
	}
	if err := r.Finish(); err != nil {
		return PeerMessage{}, err
	}
	return m, nil
}
