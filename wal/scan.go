package wal

import (
	"fmt"
	"hash/crc32"

	"github.com/dnode-engine/dnode/wire"
)

// recordKind is what the scanner found.
type recordKind uint8

const (
	foundEnd   recordKind = iota // zeros, or the end of the file
	foundGroup                   // a whole, verified group
	foundSeal                    // a verified seal
	foundFault                   // something that does not verify
)

// record is one step of the scanner.
type record struct {
	kind   recordKind
	offset int64
	size   int64
	group  groupHeader
	mark   mark // of a group
	seal   seal
	time   uint64 // time stamp of a group's last entry
	fault  fault
}

// fault says why a record does not verify, and which entries it announced if
// its header or mark can still be read.
type fault struct {
	reason string
	err    error
	first  wire.Index
	last   wire.Index
}

// scanner walks the records of one segment and verifies every byte of them.
type scanner struct {
	win    *window
	number uint64
	seed   uint32
	size   int64

	offset int64
	chain  uint32
	runs   []wire.TermRun // of the last group, reused
	// entry is called for every verified entry, before its group is known to
	// be whole. It may be nil.
	entry func(e wire.Entry, offset int64)
}

// newScanner scans through win, which is pointed at f.
func newScanner(win *window, f File, h segHeader) scanner {
	seed := identitySeed(h.number, h.owner)
	win.reset(f, int(min(maxReadChunk, h.size)))
	return scanner{win: win, number: h.number, seed: seed, size: h.size, offset: firstOffset, chain: seed}
}

// next verifies the record at offset and, unless it is the end or a fault,
// moves on. The error is a read that failed, never about content.
func (s *scanner) next() (record, error) {
	rec := record{offset: s.offset}
	b, err := s.win.at(s.offset, groupHeaderBytes)
	if err != nil {
		return rec, err
	}
	if len(b) < 4 {
		return rec, nil
	}
	switch le.Uint32(b) {
	case 0:
		return rec, nil
	case recGroup:
		err = s.group(&rec)
	case recSeal:
		err = s.sealRecord(&rec)
	default:
		rec.fail("no record begins here", nil)
	}
	if err == nil && rec.kind != foundFault {
		s.offset += rec.size
	}
	return rec, err
}

func (r *record) fail(reason string, err error) {
	r.kind, r.fault.reason, r.fault.err = foundFault, reason, err
}

// failed is fail, unless the bytes could not even be read: then the error is
// returned.
func (r *record) failed(reason string, err error) error {
	if isUnreadable(err) {
		return err
	}
	r.fail(reason, err)
	return nil
}

// group verifies the group at offset.
func (s *scanner) group(rec *record) error {
	b, err := s.win.at(s.offset, groupHeaderBytes)
	if err != nil {
		return err
	}
	if len(b) < groupHeaderBytes {
		rec.fail("the file ends within a group header", nil)
		return nil
	}
	h, ok := parseGroupHeader(b, placeSeed(s.seed, s.offset))
	switch {
	case !ok:
		rec.fail("a group header's checksum does not match", nil)
		return nil
	case h.segment != s.number || h.count == 0 || h.first == 0 || h.runs == 0 || h.size() > s.size-s.offset:
		rec.fail("a group header makes no sense", nil)
		return nil
	}
	rec.group, rec.size = h, h.size()
	rec.fault.first, rec.fault.last = h.first, h.last()
	if h.prev != s.chain {
		rec.fail("a group does not follow on the record before it", nil)
		return nil
	}
	chain, err := s.entries(rec, crc32.Update(s.chain, castagnoli, b))
	if err != nil || rec.kind == foundFault {
		return err
	}
	return s.mark(rec, chain)
}

// entries verifies the entries of a group and returns the chain over them.
func (s *scanner) entries(rec *record, chain uint32) (uint32, error) {
	h := &rec.group
	off, end := s.offset+groupHeaderBytes, s.offset+groupHeaderBytes+int64(h.bytes)
	for i := range h.count {
		e, b, err := s.win.entry(off, end)
		if err != nil {
			return 0, s.entryFault(rec, h.first+wire.Index(i), err)
		}
		if e.Index != h.first+wire.Index(i) {
			rec.fail(fmt.Sprintf("entry %d stands where entry %d should", e.Index, h.first+wire.Index(i)), nil)
			return 0, nil
		}
		rec.time, _ = e.Time()
		if s.entry != nil {
			s.entry(e, off)
		}
		chain = crc32.Update(chain, castagnoli, b)
		off += int64(len(b))
	}
	if off != end {
		rec.fail("a group holds bytes that belong to no entry", nil)
		return 0, nil
	}
	pad, err := s.win.exactly(off, int(align8(int64(h.bytes))-int64(h.bytes)))
	if err != nil {
		return 0, s.entryFault(rec, h.last(), err)
	}
	return crc32.Update(chain, castagnoli, pad), nil
}

// entryFault tells damaged content from a failing read.
func (s *scanner) entryFault(rec *record, index wire.Index, err error) error {
	return rec.failed(fmt.Sprintf("entry %d does not verify", index), err)
}

// mark verifies a group's mark against its header and the chain.
func (s *scanner) mark(rec *record, chain uint32) error {
	h := &rec.group
	n := markBytes(int(h.runs))
	off := s.offset + h.size() - n
	b, err := s.win.exactly(off, int(n))
	if err != nil {
		return rec.failed("a group's mark is cut short", err)
	}
	m, ok := parseMark(b, placeSeed(s.seed, off), s.runs)
	s.runs = m.runs
	chain = crc32.Update(chain, castagnoli, b[:n-8])
	switch {
	case !ok:
		rec.fail("a group's mark does not verify", nil)
	case m.sequence != h.sequence || m.first != h.first || m.count != h.count || m.bytes != h.bytes || !validRuns(m.runs, h):
		rec.fail("a group's mark contradicts its header", nil)
	case m.chain != chain:
		rec.fail("a group's chained checksum does not match", nil)
	default:
		rec.kind, rec.mark, s.chain = foundGroup, m, chain
	}
	return nil
}

func validRuns(runs []wire.TermRun, h *groupHeader) bool {
	for i, r := range runs {
		if i == 0 && r.First != h.first || i > 0 && (r.First <= runs[i-1].First || r.Term <= runs[i-1].Term) || r.First > h.last() || r.Term == 0 {
			return false
		}
	}
	return true
}

// sealRecord verifies the seal at offset.
func (s *scanner) sealRecord(rec *record) error {
	b, err := s.win.at(s.offset, sealFixedBytes)
	if err != nil {
		return err
	}
	if len(b) < sealFixedBytes || sealSize(b) > s.size-s.offset {
		rec.fail("a seal runs past the end of the file", nil)
		return nil
	}
	n := sealSize(b)
	if b, err = s.win.exactly(s.offset, int(n)); err != nil {
		return rec.failed("a seal is cut short", err)
	}
	v, ok := parseSeal(b, placeSeed(s.seed, s.offset))
	chain := crc32.Update(s.chain, castagnoli, b[:n-8])
	switch {
	case !ok:
		rec.fail("a seal's checksum does not match", nil)
	case v.segment != s.number || v.prev != s.chain || v.chain != chain:
		rec.fail("a seal does not follow on the record before it", nil)
	default:
		rec.kind, rec.seal, rec.size, s.chain = foundSeal, v, n, chain
	}
	return nil
}

// evidence is what a damaged or unused stretch of a segment still says.
type evidence struct {
	synced    place      // highest syncedThrough in any valid mark or seal
	lastDirty int64      // end of the last 8 bytes that are not zero
	first     wire.Index // lowest entry that a valid mark beyond speaks of, zero if none
}

// search looks at every aligned offset from from on for marks and seals that
// verify at their place: they speak for what was durable before them, whatever
// has become of the records in between.
func (s *scanner) search(from int64) (evidence, error) {
	ev := evidence{lastDirty: from}
	for off := from; off < s.size; off += 8 {
		for {
			b, err := s.win.at(off, pageBytes)
			if err != nil {
				return ev, err
			}
			if len(b) < pageBytes || !allZero(b) {
				break
			}
			off += pageBytes
		}
		b, err := s.win.at(off, 8)
		if err != nil {
			return ev, err
		}
		if len(b) < 8 {
			break
		}
		if le.Uint64(b) == 0 {
			continue
		}
		ev.lastDirty = off + 8
		switch le.Uint32(b) {
		case recMark:
			err = s.searchMark(&ev, off, int64(le.Uint32(b[4:])))
		case recSeal:
			err = s.searchSeal(&ev, off)
		}
		if err != nil {
			return ev, err
		}
	}
	return ev, nil
}

// allZero reports whether b, a multiple of 8 long, holds only zeros.
func allZero(b []byte) bool {
	for ; len(b) >= 8; b = b[8:] {
		if le.Uint64(b) != 0 {
			return false
		}
	}
	return true
}

func (s *scanner) searchMark(ev *evidence, off, runs int64) error {
	n := markFixedBytes + pairBytes*runs
	if n > s.size-off {
		return nil
	}
	b, err := s.win.exactly(off, markFixedBytes)
	if err != nil || !s.plausibleMark(b, off, runs) {
		return err
	}
	if b, err = s.win.exactly(off, int(n)); err != nil {
		return err
	}
	m, ok := parseMark(b, placeSeed(s.seed, off), nil)
	if !ok {
		return nil
	}
	if ev.synced.less(m.synced) {
		ev.synced = m.synced
	}
	if ev.first == 0 || m.first < ev.first {
		ev.first = m.first
	}
	return nil
}

// plausibleMark reports whether the fixed part of a mark can be one that was
// written at off. What only looks like a mark, in the middle of a user's bytes,
// would claim any size, and checking it would read that much each time.
func (s *scanner) plausibleMark(b []byte, off, runs int64) bool {
	count, bytes, synced := int64(le.Uint32(b[24:])), int64(le.Uint32(b[28:])), place2(b[32:])
	return runs <= count && count <= bytes/wire.EntryHeaderBytes && bytes < off &&
		synced.segment > 0 && synced.offset >= firstOffset && synced.less(place{s.number, off})
}

func (s *scanner) searchSeal(ev *evidence, off int64) error {
	b, err := s.win.at(off, sealFixedBytes)
	if err != nil || len(b) < sealFixedBytes || le.Uint64(b[8:]) != s.number || sealSize(b) > s.size-off {
		return err
	}
	if b, err = s.win.exactly(off, int(sealSize(b))); err != nil {
		return err
	}
	if v, ok := parseSeal(b, placeSeed(s.seed, off)); ok && ev.synced.less(v.synced) {
		ev.synced = v.synced
	}
	return nil
}
