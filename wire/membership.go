package wire

import (
	"encoding/binary"
	"fmt"
)

// membershipFormat starts every encoded membership, because configuration
// entries are read from logs that older versions wrote.
const membershipFormat = 1

// memberMinBytes is the size of a member whose texts are empty.
const memberMinBytes = 8 + 16 + 4 + 3*2

// AppendMembership appends a configuration: format (2), zero (2), level (4),
// next id (8), cluster (16), the members, the number of outgoing voters (4),
// their ids (8 each).
func AppendMembership(dst []byte, m *Membership) []byte {
	le := binary.LittleEndian
	dst = append(dst, membershipFormat, 0, 0, 0)
	dst = le.AppendUint32(dst, m.Level)
	dst = le.AppendUint64(dst, uint64(m.NextID))
	dst = append(dst, m.Cluster[:]...)
	dst = appendMembers(dst, m.Members)
	dst = le.AppendUint32(dst, uint32(len(m.Outgoing)))
	for _, id := range m.Outgoing {
		dst = le.AppendUint64(dst, uint64(id))
	}
	return dst
}

// ParseMembership decodes a configuration and checks its invariants, see
// Membership.Check.
func ParseMembership(b []byte) (Membership, error) {
	r := NewReader(b)
	if r.U16() != membershipFormat {
		r.Fail("unknown membership format")
	}
	if r.U16() != 0 {
		r.Fail("reserved bytes are set")
	}
	m := Membership{Level: r.U32(), NextID: NodeID(r.U64()), Cluster: ClusterID(r.id())}
	m.Members = r.members()
	n := r.Count(8)
	if n > MaxMembers {
		r.Fail("too many outgoing voters")
		n = 0
	}
	for range n {
		m.Outgoing = append(m.Outgoing, NodeID(r.U64()))
	}
	if err := r.Finish(); err != nil {
		return Membership{}, err
	}
	if err := m.Check(); err != nil {
		return Membership{}, err
	}
	return m, nil
}

// Check reports the first invariant that the configuration breaks, as an error
// that wraps ErrMalformed: one to MaxMembers members with valid names, sorted
// by id, no id or name twice, every id between 1 and NextID, at least one
// voter; outgoing voters sorted, without duplicates, each of them a member.
func (m *Membership) Check() error {
	if len(m.Members) == 0 || len(m.Members) > MaxMembers {
		return fmt.Errorf("%w: configuration of %d members, 1 to %d are allowed", ErrMalformed, len(m.Members), MaxMembers)
	}
	voters, last := 0, NodeID(0)
	for i := range m.Members {
		mb := &m.Members[i]
		switch {
		case mb.ID <= last || mb.ID >= m.NextID:
			return fmt.Errorf("%w: member id %d follows %d, next id is %d", ErrMalformed, mb.ID, last, m.NextID)
		case !ValidName(mb.Name):
			return fmt.Errorf("%w: member name %q", ErrMalformed, mb.Name)
		case m.FindName(mb.Name) != mb:
			return fmt.Errorf("%w: two members named %q", ErrMalformed, mb.Name)
		case mb.Role != Voter && mb.Role != Learner:
			return fmt.Errorf("%w: role %d of member %d", ErrMalformed, mb.Role, mb.ID)
		case mb.Role == Voter:
			voters++
		}
		last = mb.ID
	}
	if voters == 0 {
		return fmt.Errorf("%w: configuration without a voter", ErrMalformed)
	}
	last = 0
	for _, id := range m.Outgoing {
		if id <= last || m.Find(id) == nil {
			return fmt.Errorf("%w: outgoing voter %d follows %d", ErrMalformed, id, last)
		}
		last = id
	}
	return nil
}

// ValidName reports whether a member may be called name: 1 to MaxNameBytes of
// letters, digits, '.', '_' and '-', so that it can stand in flags, metrics,
// file names and log lines as it is.
func ValidName(name string) bool {
	if name == "" || len(name) > MaxNameBytes {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// Membership decodes a configuration entry's payload.
func (e Entry) Membership() (Membership, error) {
	if e.Type != EntryConfig || len(e.Payload) < 8 {
		return Membership{}, fmt.Errorf("%w: %v entry with %d bytes of payload holds no configuration", ErrEntryCorrupt, e.Type, len(e.Payload))
	}
	return ParseMembership(e.Payload[8:])
}

// appendMembers appends the number of members (4) and each of them: id (8),
// replica (16), role (1), zero (3), name, peer address and client address
// behind their 16-bit lengths.
func appendMembers(dst []byte, members []Member) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, uint32(len(members)))
	for i := range members {
		m := &members[i]
		dst = le.AppendUint64(dst, uint64(m.ID))
		dst = append(dst, m.Replica[:]...)
		dst = append(dst, byte(m.Role), 0, 0, 0)
		dst = appendText(dst, m.Name)
		dst = appendText(dst, m.PeerAddr)
		dst = appendText(dst, m.ClientAddr)
	}
	return dst
}

func (r *Reader) members() []Member {
	n := r.Count(memberMinBytes)
	if n > MaxMembers {
		r.Fail("too many members")
		return nil
	}
	var members []Member
	for range n {
		m := Member{ID: NodeID(r.U64()), Replica: ReplicaID(r.id()), Role: Role(r.U8())}
		if !r.zeros(3) {
			r.Fail("reserved bytes are set")
		}
		m.Name = r.Text(MaxNameBytes)
		m.PeerAddr = r.Text(MaxAddrBytes)
		m.ClientAddr = r.Text(MaxAddrBytes)
		members = append(members, m)
	}
	return members
}
