package wire

import (
	"encoding/binary"
	"fmt"
)

// The protocol versions that this code speaks, from MinVersion to Version.
const (
	Version    uint16 = 1
	MinVersion uint16 = 1
)

// FeatureS2 is the feature bit that allows FlagS2 between members.
const FeatureS2 uint64 = 1

// Side says which of a node's two ports a connection is for.
type Side uint8

// The sides. Zero is invalid.
const (
	ClientSide Side = 1 // the client port: requests and replies
	PeerSide   Side = 2 // the peer port: messages between members
)

// String names the side.
func (s Side) String() string {
	switch s {
	case ClientSide:
		return "client"
	case PeerSide:
		return "peer"
	default:
		return fmt.Sprintf("side %d", uint8(s))
	}
}

// Hello is the first frame of a connection, sent by the caller. A client may
// leave everything from Name on empty.
type Hello struct {
	Version    uint16 // highest protocol version the caller speaks
	MinVersion uint16 // lowest
	Side       Side
	Features   uint64    // the features the caller can do
	Cluster    ClusterID // zero: any (client), not founded yet (member)
	Name       string    // who calls: the member's name, or words for a client
	To         string    // the member that is called; empty: whoever answers
	Replica    ReplicaID // the calling member's
	PeerAddr   string    // the calling member's, as others are to dial it
	ClientAddr string    // likewise
	Bootstrap  uint64    // hash of the bootstrap names and addresses, 0: none
}

// HelloAck accepts a hello. From here on both sides count by its numbers.
type HelloAck struct {
	Version    uint16    // the version to be spoken
	Features   uint64    // the features that both can do
	Cluster    ClusterID // zero: not founded yet
	Name       string    // who answers
	Replica    ReplicaID
	ClientAddr string // the acceptor's, as clients are to dial it
	Member     bool   // the acceptor's configuration knows the caller's name with the caller's replica id
	MaxFrame   uint32 // bytes of the largest frame the caller may send
	Requests   uint32 // credit: requests in flight
	Bytes      uint32 // credit: bytes of request frames in flight
}

// Negotiate picks the version to speak with a caller: the highest that both
// know. If there is none the error has CodeVersion and names both ranges.
func Negotiate(h *Hello) (uint16, *Error) {
	v := min(Version, h.Version)
	if v < MinVersion || v < h.MinVersion {
		return 0, &Error{Code: CodeVersion, Text: fmt.Sprintf(
			"this node speaks protocol versions %d to %d, the caller %d to %d: upgrade the older of the two",
			MinVersion, Version, h.MinVersion, h.Version)}
	}
	return v, nil
}

// AppendHello appends the body of a hello: version (2), min version (2), side
// (1), zero (3), features (8), cluster (16), replica (16), bootstrap (8), then
// name, to, peer address and client address, each behind its 16-bit length.
func AppendHello(dst []byte, h *Hello) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint16(dst, h.Version)
	dst = le.AppendUint16(dst, h.MinVersion)
	dst = append(dst, byte(h.Side), 0, 0, 0)
	dst = le.AppendUint64(dst, h.Features)
	dst = append(dst, h.Cluster[:]...)
	dst = append(dst, h.Replica[:]...)
	dst = le.AppendUint64(dst, h.Bootstrap)
	dst = appendText(dst, h.Name)
	dst = appendText(dst, h.To)
	dst = appendText(dst, h.PeerAddr)
	return appendText(dst, h.ClientAddr)
}

// ParseHello decodes the body of a hello. It must work for ever: of a caller
// whose versions do not overlap with ours only the two version fields are
// read, so that Negotiate can name them, and bytes that a later version added
// at the end are passed over.
func ParseHello(b []byte) (Hello, error) {
	r := NewReader(b)
	h := Hello{Version: r.U16(), MinVersion: r.U16()}
	if r.Err() == nil && (h.MinVersion == 0 || h.MinVersion > h.Version) {
		r.Fail("versions are not a range")
	}
	if r.Err() != nil {
		return Hello{}, r.Err()
	}
	if h.MinVersion > Version || h.Version < MinVersion {
		return h, nil
	}
	h.Side = Side(r.U8())
	zero := r.zeros(3)
	h.Features = r.U64()
	h.Cluster = ClusterID(r.id())
	h.Replica = ReplicaID(r.id())
	h.Bootstrap = r.U64()
	h.Name = r.Text(MaxNameBytes)
	h.To = r.Text(MaxNameBytes)
	h.PeerAddr = r.Text(MaxAddrBytes)
	h.ClientAddr = r.Text(MaxAddrBytes)
	if h.Side != ClientSide && h.Side != PeerSide {
		r.Fail("unknown side")
	}
	if h.Version > Version {
		r.Rest()
	} else if !zero {
		r.Fail("reserved bytes are set")
	}
	if err := r.Finish(); err != nil {
		return Hello{}, err
	}
	return h, nil
}

// AppendHelloAck appends the body of a hello's answer: version (2), member
// (1), zero (1), max frame (4), requests (4), bytes (4), features (8), cluster
// (16), replica (16), then name and client address behind their lengths.
func AppendHelloAck(dst []byte, a *HelloAck) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint16(dst, a.Version)
	dst = append(dst, bit(a.Member), 0)
	dst = le.AppendUint32(dst, a.MaxFrame)
	dst = le.AppendUint32(dst, a.Requests)
	dst = le.AppendUint32(dst, a.Bytes)
	dst = le.AppendUint64(dst, a.Features)
	dst = append(dst, a.Cluster[:]...)
	dst = append(dst, a.Replica[:]...)
	dst = appendText(dst, a.Name)
	return appendText(dst, a.ClientAddr)
}

// ParseHelloAck decodes the body of a hello's answer. Whether its numbers make
// sense is for Session.Open to say.
func ParseHelloAck(b []byte) (HelloAck, error) {
	r := NewReader(b)
	a := HelloAck{Version: r.U16(), Member: r.flag()}
	if r.U8() != 0 {
		r.Fail("reserved byte is set")
	}
	a.MaxFrame, a.Requests, a.Bytes = r.U32(), r.U32(), r.U32()
	a.Features = r.U64()
	a.Cluster = ClusterID(r.id())
	a.Replica = ReplicaID(r.id())
	a.Name = r.Text(MaxNameBytes)
	a.ClientAddr = r.Text(MaxAddrBytes)
	if err := r.Finish(); err != nil {
		return HelloAck{}, err
	}
	return a, nil
}
