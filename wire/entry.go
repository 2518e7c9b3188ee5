package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// An entry has one encoding, shared by the network and the disk. The leader
// checksums it once; every receiver and every reader checks it.
//
//	 0        4    5    6        8                16               24       28
//	+--------+----+----+--------+----------------+----------------+--------+---------
//	| length |type| 0  |   0    |     index      |      term      | crc32c | payload
//	+--------+----+----+--------+----------------+----------------+--------+---------
//
// All integers are little-endian. length counts the whole entry, header
// included. The CRC-32C covers bytes 0 to 23 and then the payload. The bytes
// at 5 to 7 are zero. Type zero is invalid, so that prepared zeros never parse.
const (
	EntryHeaderBytes = 28
	// StampBytes precede the command in a command entry's payload: the
	// leader's time (8), then session, sequence and acknowledged-up-to (8 each).
	StampBytes    = 32
	MaxEntryBytes = EntryHeaderBytes + StampBytes + MaxCommandBytes
)

// EntryType says how an entry's payload is to be read.
type EntryType uint8

// The entry types. Zero is invalid.
const (
	EntryNoop    EntryType = 1 // payload: the leader's time, 8 bytes
	EntryCommand EntryType = 2 // payload: time, session, seq, acked (8 bytes each), command
	EntryConfig  EntryType = 3 // payload: the leader's time, then a Membership
)

func (t EntryType) String() string {
	switch t {
	case EntryNoop:
		return "noop"
	case EntryCommand:
		return "command"
	case EntryConfig:
		return "config"
	default:
		return "invalid"
	}
}

// EntryHead is what identifies an entry: an index and a term belong to one entry
// only, in all of a cluster's logs.
type EntryHead struct {
	Type  EntryType
	Index Index
	Term  Term
}

// Entry is a decoded view of one entry.
type Entry struct {
	Type    EntryType
	Index   Index
	Term    Term
	Payload []byte // aliases the bytes it was parsed from
	Size    int    // encoded bytes, header included
}

// Errors of ParseEntry. A short entry may be completed by more bytes; a
// corrupt one never becomes valid.
var (
	ErrEntryShort   = errors.New("entry is cut short")
	ErrEntryCorrupt = errors.New("entry is corrupt")
)

// Castagnoli is the polynomial of every checksum in the system.
var Castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum returns the CRC-32C of b.
func Checksum(b []byte) uint32 { return crc32.Checksum(b, Castagnoli) }

// AppendEntry appends the encoding of an entry whose payload is the
// concatenation of head and body. It keeps neither slice.
func AppendEntry(dst []byte, e EntryHead, head, body []byte) []byte {
	start := len(dst)
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, uint32(EntryHeaderBytes+len(head)+len(body)))
	dst = append(dst, byte(e.Type), 0, 0, 0)
	dst = le.AppendUint64(dst, uint64(e.Index))
	dst = le.AppendUint64(dst, uint64(e.Term))
	crc := crc32.Checksum(dst[start:], Castagnoli)
	crc = crc32.Update(crc, Castagnoli, head)
	crc = crc32.Update(crc, Castagnoli, body)
	dst = le.AppendUint32(dst, crc)
	dst = append(dst, head...)
	return append(dst, body...)
}

// EntryBytes returns the encoded size of an entry with the given payload size.
func EntryBytes(payload int) int { return EntryHeaderBytes + payload }

// ParseEntry decodes and verifies the first entry of b. The entry's payload
// aliases b. The error wraps ErrEntryShort or ErrEntryCorrupt.
func ParseEntry(b []byte) (Entry, error) {
	if len(b) < EntryHeaderBytes {
		return Entry{}, ErrEntryShort
	}
	le := binary.LittleEndian
	size := int(le.Uint32(b))
	if size < EntryHeaderBytes || size > MaxEntryBytes {
		return Entry{}, fmt.Errorf("%w: length %d is not between %d and %d", ErrEntryCorrupt, size, EntryHeaderBytes, MaxEntryBytes)
	}
	typ := EntryType(b[4])
	if typ < EntryNoop || typ > EntryConfig || b[5]|b[6]|b[7] != 0 {
		return Entry{}, fmt.Errorf("%w: unknown type %d", ErrEntryCorrupt, b[4])
	}
	if len(b) < size {
		return Entry{}, ErrEntryShort
	}
	crc := crc32.Update(crc32.Checksum(b[:24], Castagnoli), Castagnoli, b[EntryHeaderBytes:size])
	if got := le.Uint32(b[24:]); got != crc {
		return Entry{}, fmt.Errorf("%w: checksum %08x, content has %08x", ErrEntryCorrupt, got, crc)
	}
	e := Entry{
		Type:    typ,
		Index:   Index(le.Uint64(b[8:])),
		Term:    Term(le.Uint64(b[16:])),
		Payload: b[EntryHeaderBytes:size:size],
		Size:    size,
	}
	if e.Index == 0 || e.Term == 0 {
		return Entry{}, fmt.Errorf("%w: index %d, term %d", ErrEntryCorrupt, e.Index, e.Term)
	}
	return e, nil
}

// AppendTime appends the 8 bytes of time that start the payload of an entry
// without a stamp.
func AppendTime(dst []byte, nanos uint64) []byte {
	return binary.LittleEndian.AppendUint64(dst, nanos)
}

// Stamp is the head of a command entry's payload.
type Stamp struct {
	Time    uint64 // replicated time, nanoseconds since the cluster was founded
	Session uint64 // zero: no session
	Seq     uint64
	Acked   uint64 // results up to this sequence number may be forgotten
}

// AppendStamp appends the 32 bytes of a command entry's stamp.
func AppendStamp(dst []byte, s Stamp) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, s.Time)
	dst = le.AppendUint64(dst, s.Session)
	dst = le.AppendUint64(dst, s.Seq)
	return le.AppendUint64(dst, s.Acked)
}

// Command splits a command entry's payload into its stamp and the command.
func (e Entry) Command() (Stamp, []byte, error) {
	if len(e.Payload) < StampBytes {
		return Stamp{}, nil, fmt.Errorf("%w: command payload of %d bytes", ErrEntryCorrupt, len(e.Payload))
	}
	le := binary.LittleEndian
	p := e.Payload
	return Stamp{le.Uint64(p), le.Uint64(p[8:]), le.Uint64(p[16:]), le.Uint64(p[24:])}, p[StampBytes:], nil
}

// Time returns the leader's time in an entry of any type.
func (e Entry) Time() (uint64, error) {
	if len(e.Payload) < 8 {
		return 0, fmt.Errorf("%w: payload of %d bytes holds no time", ErrEntryCorrupt, len(e.Payload))
	}
	return binary.LittleEndian.Uint64(e.Payload), nil
}
