package wal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/dnode-engine/dnode/wire"
)

// Sizes of the format. doc.go draws the records.
const (
	formatVersion    = 1
	sectorBytes      = 512
	segHeaderBytes   = 64
	firstOffset      = sectorBytes // records start here: the header's sector is never written again
	groupHeaderBytes = 48
	markFixedBytes   = 56 // 48, then the runs, then chain and CRC
	sealFixedBytes   = 80 // 72, then points and runs, then chain and CRC
	pairBytes        = 16 // one term run or one point
	pageBytes        = 4 << 10
	pointBytes       = 64 << 10
	maxGroupBytes    = 4 << 20 // entries of one group, unless the first alone is larger
)

var segMagic = [8]byte{'d', 'n', 'o', 'd', 'e', 'W', 'A', 'L'}

// Record types. Zero is invalid, so that prepared zeros never parse.
const (
	recGroup = 1
	recMark  = 2
	recSeal  = 3
)

// Why a seal was written.
const (
	sealIdle   = 1
	sealRotate = 2
	sealStop   = 3
)

var (
	le         = binary.LittleEndian
	castagnoli = wire.Castagnoli
	zeroPad    [8]byte
)

// place is a position in the log's files. Everything before it is meant.
type place struct {
	segment uint64
	offset  int64
}

func (p place) less(q place) bool {
	return p.segment < q.segment || p.segment == q.segment && p.offset < q.offset
}

// point says where in a segment the entries from first on begin.
type point struct {
	first  wire.Index
	offset int64
}

func align8(n int64) int64 { return (n + 7) &^ 7 }

// groupBytes is the size of a group's record: header, entries, padding, mark.
func groupBytes(entries int64, runs int) int64 {
	return groupHeaderBytes + align8(entries) + markBytes(runs)
}

func markBytes(runs int) int64 { return markFixedBytes + pairBytes*int64(runs) }

func sealBytes(points, runs int) int64 {
	return sealFixedBytes + pairBytes*(int64(points)+int64(runs))
}

// identitySeed is the checksum of a segment's identity: where its chain
// begins, and what every record checksum starts from.
func identitySeed(number uint64, owner wire.ReplicaID) uint32 {
	var b [24]byte
	le.PutUint64(b[:], number)
	copy(b[8:], owner[:])
	return crc32.Checksum(b[:], castagnoli)
}

// placeSeed binds a record's checksum to its segment and its offset, so that a
// record at a wrong place is damage.
func placeSeed(seed uint32, offset int64) uint32 {
	// By the table: a buffer for crc32.Update would be allocated for each group.
	crc := ^seed
	for range 8 {
		crc = castagnoli[byte(crc)^byte(offset)] ^ crc>>8
		offset >>= 8
	}
	return ^crc
}

type segHeader struct {
	number uint64
	owner  wire.ReplicaID
	size   int64
}

func putSegHeader(b []byte, h segHeader) {
	copy(b, segMagic[:])
	le.PutUint32(b[8:], formatVersion)
	le.PutUint32(b[12:], 0)
	le.PutUint64(b[16:], h.number)
	copy(b[24:], h.owner[:])
	le.PutUint64(b[40:], uint64(h.size))
	clear(b[48:60])
	le.PutUint32(b[60:], wire.Checksum(b[:60]))
}

// parseSegHeader returns a reason if b holds no valid header.
func parseSegHeader(b []byte) (h segHeader, reason string) {
	if len(b) < segHeaderBytes {
		return h, "the file is shorter than a segment header"
	}
	if [8]byte(b[:8]) != segMagic {
		return h, "the segment header has no magic"
	}
	if le.Uint32(b[60:]) != wire.Checksum(b[:60]) {
		return h, "the segment header's checksum does not match"
	}
	if v := le.Uint32(b[8:]); v != formatVersion {
		return h, fmt.Sprintf("the segment has format version %d, this program knows %d", v, formatVersion)
	}
	h = segHeader{number: le.Uint64(b[16:]), owner: wire.ReplicaID(b[24:40]), size: int64(le.Uint64(b[40:]))}
	if h.size < minSegmentBytes {
		return h, "the segment header announces an impossible size"
	}
	return h, ""
}

// groupHeader precedes a group's entries.
type groupHeader struct {
	prev     uint32 // chain before this group
	segment  uint64
	sequence uint64
	first    wire.Index
	bytes    uint32 // entries, without padding
	runs     uint32
	count    uint32
}

func (h *groupHeader) size() int64      { return groupBytes(int64(h.bytes), int(h.runs)) }
func (h *groupHeader) last() wire.Index { return h.first + wire.Index(h.count) - 1 }

func putGroupHeader(b []byte, h *groupHeader, place uint32) {
	le.PutUint32(b, recGroup)
	le.PutUint32(b[4:], h.prev)
	le.PutUint64(b[8:], h.segment)
	le.PutUint64(b[16:], h.sequence)
	le.PutUint64(b[24:], uint64(h.first))
	le.PutUint32(b[32:], h.bytes)
	le.PutUint32(b[36:], h.runs)
	le.PutUint32(b[40:], h.count)
	le.PutUint32(b[44:], crc32.Update(place, castagnoli, b[:44]))
}

func parseGroupHeader(b []byte, place uint32) (h groupHeader, ok bool) {
	if le.Uint32(b) != recGroup || le.Uint32(b[44:]) != crc32.Update(place, castagnoli, b[:44]) {
		return h, false
	}
	return groupHeader{
		prev: le.Uint32(b[4:]), segment: le.Uint64(b[8:]), sequence: le.Uint64(b[16:]),
		first: wire.Index(le.Uint64(b[24:])), bytes: le.Uint32(b[32:]), runs: le.Uint32(b[36:]), count: le.Uint32(b[40:]),
	}, true
}

// mark follows a group's entries and says what the group holds.
type mark struct {
	sequence uint64
	first    wire.Index
	count    uint32
	bytes    uint32
	synced   place // known durable when the mark was written
	runs     []wire.TermRun
	chain    uint32
}

// appendMark appends all of a mark but its chain and CRC.
func appendMark(dst []byte, m *mark) []byte {
	dst = le.AppendUint32(dst, recMark)
	dst = le.AppendUint32(dst, uint32(len(m.runs)))
	dst = le.AppendUint64(dst, m.sequence)
	dst = le.AppendUint64(dst, uint64(m.first))
	dst = le.AppendUint32(dst, m.count)
	dst = le.AppendUint32(dst, m.bytes)
	dst = le.AppendUint64(dst, m.synced.segment)
	dst = le.AppendUint64(dst, uint64(m.synced.offset))
	return appendRuns(dst, m.runs)
}

// parseMark reads a mark of exactly len(b) bytes. The runs are appended to
// runs[:0].
func parseMark(b []byte, place uint32, runs []wire.TermRun) (m mark, ok bool) {
	n := len(b)
	if n < markFixedBytes || le.Uint32(b) != recMark || le.Uint32(b[n-4:]) != crc32.Update(place, castagnoli, b[:n-4]) {
		return m, false
	}
	if markBytes(int(le.Uint32(b[4:]))) != int64(n) {
		return m, false
	}
	m = mark{
		sequence: le.Uint64(b[8:]), first: wire.Index(le.Uint64(b[16:])), count: le.Uint32(b[24:]), bytes: le.Uint32(b[28:]),
		synced: place2(b[32:]), chain: le.Uint32(b[n-8:]),
	}
	m.runs = parseRuns(b[48:n-8], runs[:0])
	return m, true
}

func place2(b []byte) place {
	return place{segment: le.Uint64(b), offset: int64(le.Uint64(b[8:]))}
}

func appendRuns(dst []byte, runs []wire.TermRun) []byte {
	for _, r := range runs {
		dst = le.AppendUint64(dst, uint64(r.First))
		dst = le.AppendUint64(dst, uint64(r.Term))
	}
	return dst
}

func parseRuns(b []byte, runs []wire.TermRun) []wire.TermRun {
	for ; len(b) >= pairBytes; b = b[pairBytes:] {
		runs = append(runs, wire.TermRun{First: wire.Index(le.Uint64(b)), Term: wire.Term(le.Uint64(b[8:]))})
	}
	return runs
}

// seal attests what stands before it. The one written at rotation ends its
// segment, names the next, and carries an index of the segment's groups.
type seal struct {
	prev      uint32
	segment   uint64
	sequence  uint64 // of the last group before it
	synced    place
	successor uint64 // zero unless written at rotation
	last      wire.Index
	reason    uint32
	points    []point
	runs      []wire.TermRun
	chain     uint32
}

// appendSeal appends all of a seal but its chain and CRC.
func appendSeal(dst []byte, s *seal) []byte {
	dst = le.AppendUint32(dst, recSeal)
	dst = le.AppendUint32(dst, s.prev)
	dst = le.AppendUint64(dst, s.segment)
	dst = le.AppendUint64(dst, s.sequence)
	dst = le.AppendUint64(dst, s.synced.segment)
	dst = le.AppendUint64(dst, uint64(s.synced.offset))
	dst = le.AppendUint64(dst, s.successor)
	dst = le.AppendUint64(dst, uint64(s.last))
	dst = le.AppendUint32(dst, uint32(len(s.points)))
	dst = le.AppendUint32(dst, uint32(len(s.runs)))
	dst = le.AppendUint32(dst, s.reason)
	dst = le.AppendUint32(dst, 0)
	for _, p := range s.points {
		dst = le.AppendUint64(dst, uint64(p.first))
		dst = le.AppendUint64(dst, uint64(p.offset))
	}
	return appendRuns(dst, s.runs)
}

// sealSize reads from a seal's first 72 bytes how long it claims to be.
func sealSize(b []byte) int64 { return sealBytes(int(le.Uint32(b[56:])), int(le.Uint32(b[60:]))) }

// parseSeal reads a seal of exactly len(b) bytes.
func parseSeal(b []byte, place uint32) (s seal, ok bool) {
	n := len(b)
	if n < sealFixedBytes || le.Uint32(b) != recSeal || sealSize(b) != int64(n) || le.Uint32(b[n-4:]) != crc32.Update(place, castagnoli, b[:n-4]) {
		return s, false
	}
	s = seal{
		prev: le.Uint32(b[4:]), segment: le.Uint64(b[8:]), sequence: le.Uint64(b[16:]), synced: place2(b[24:]),
		successor: le.Uint64(b[40:]), last: wire.Index(le.Uint64(b[48:])), reason: le.Uint32(b[64:]), chain: le.Uint32(b[n-8:]),
	}
	body := b[72 : n-8]
	for range le.Uint32(b[56:]) {
		s.points = append(s.points, point{wire.Index(le.Uint64(body)), int64(le.Uint64(body[8:]))})
		body = body[pairBytes:]
	}
	s.runs = parseRuns(body, nil)
	return s, true
}

// closeRecord appends the two checksums that end a group and a seal: the chain
// over the whole record b[from:], and the CRC of the part that starts at tail,
// which can be checked without the rest.
func closeRecord(b []byte, tail int, prev, tailPlace uint32) (rec []byte, chain uint32) {
	chain = crc32.Update(prev, castagnoli, b)
	b = le.AppendUint32(b, chain)
	return le.AppendUint32(b, crc32.Update(tailPlace, castagnoli, b[tail:])), chain
}
