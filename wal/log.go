package wal

import (
	"fmt"

	"github.com/dnode-engine/dnode/wire"
)

// Log is the segmented log of one data folder. It does its work within the
// calls, starts nothing, and is used by one goroutine at a time.
type Log struct {
	fs  FS
	opt Options

	seg  segment // being written
	live live

	sequence uint64 // of the last group
	// synced is known to be on the disk.
	// Invariant: synced never passes the end of the last record written.
	synced place
	// attested says that a record on the disk, written after the last group
	// was synced, says so.
	attested bool

	// spare is the number of the newest prepared segment, if it is above that of
	// the one being written. All between are prepared too.
	spare    uint64
	sealed   uint64 // last sealed segment
	recorded uint64 // last sealed segment that the identity file knows

	buf       []byte // the group or seal being built
	groupRuns []wire.TermRun
	pos       position // in the runs given to Append

	win        window // Read's
	reader     File   // sealed segment that Read opened last
	readerOf   uint64
	readerSeed uint32

	fenced error
}

// segment is the one being written.
type segment struct {
	number uint64
	file   File
	size   int64
	seed   uint32
	offset int64  // where the next record goes
	chain  uint32 // of all records so far
	points []point
	runs   []wire.TermRun
}

// end is where the next record goes.
func (l *Log) end() place { return place{l.seg.number, l.seg.offset} }

// First returns the index of the first entry, or of the one to come first.
func (l *Log) First() wire.Index { return l.live.first }

// Last returns the index of the last entry appended, zero if there is none.
func (l *Log) Last() wire.Index { return l.live.last }

// fence stops all writing for ever and leaves a marker, as well as the disk
// still lets it, that makes the next Open read past the page cache.
func (l *Log) fence(err error) error {
	l.fenced = fmt.Errorf("%w: %w", ErrFenced, err)
	leaveFenceMarker(l.fs)
	return l.fenced
}

// writeFailed sorts out a failed write: what passes is no reason to fence.
func (l *Log) writeFailed(err error) error {
	if Passes(err) {
		return err
	}
	return l.fence(err)
}

// position walks over the entries of several runs.
type position struct {
	runs [][]byte
	run  int // current run
	off  int // of the next entry in it
}

// entryHead is what the log needs of an entry: its content is not touched.
type entryHead struct {
	index wire.Index
	term  wire.Term
	bytes []byte // whole entry
}

// next returns the entry at the position, without advancing. ok is false at
// the end.
func (p *position) next() (e entryHead, ok bool, err error) {
	for p.run < len(p.runs) && p.off == len(p.runs[p.run]) {
		p.run, p.off = p.run+1, 0
	}
	if p.run == len(p.runs) {
		return e, false, nil
	}
	b := p.runs[p.run][p.off:]
	if len(b) < wire.EntryHeaderBytes {
		return e, false, fmt.Errorf("run %d ends within an entry", p.run)
	}
	n := le.Uint32(b)
	if n < wire.EntryHeaderBytes || uint64(n) > uint64(len(b)) {
		return e, false, fmt.Errorf("entry of %d bytes in %d bytes of run %d", n, len(b), p.run)
	}
	return entryHead{wire.Index(le.Uint64(b[8:])), wire.Term(le.Uint64(b[16:])), b[:n]}, true, nil
}

func (p *position) skip(e entryHead) { p.off += len(e.bytes) }

// Append writes runs of whole encoded entries with contiguous indexes as one
// group. The first index may be ≤ Last: then that entry and all after it are
// superseded. The entries' own checksums are not verified again; the runs are
// not kept. Nothing is durable before Sync.
//
// A batch that does not fit into the segment is split into several groups; the
// full segment is then synced before anything is written to the next one. If
// the error Passes some groups of the batch may have been written; the same batch
// may be appended again. Any other failure of the disk fences the log.
func (l *Log) Append(runs [][]byte) error {
	if l.fenced != nil {
		return l.fenced
	}
	if err := l.checkRuns(runs); err != nil {
		return fmt.Errorf("cannot append: %w", err)
	}
	l.pos = position{runs: runs}
	err := l.appendAll()
	l.pos = position{}
	if err != nil {
		return fmt.Errorf("cannot append: %w", err)
	}
	return nil
}

// checkRuns refuses a batch before anything of it is written.
func (l *Log) checkRuns(runs [][]byte) error {
	p := position{runs: runs}
	e, ok, err := p.next()
	if err != nil || !ok {
		return err
	}
	if err := l.live.check(e.index, e.term); err != nil {
		return err
	}
	for before := e; ; before = e {
		p.skip(e)
		if e, ok, err = p.next(); err != nil || !ok {
			return err
		}
		if e.index != before.index+1 || e.term < before.term {
			return fmt.Errorf("entry %d of term %d follows on entry %d of term %d", e.index, e.term, before.index, before.term)
		}
	}
}

func (l *Log) appendAll() error {
	for {
		h, more := l.gather()
		if h.count > 0 {
			if err := l.writeGroup(&h); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
		if h.count > 0 {
			continue // it was the group that was full, or the next round finds nothing that fits
		}
		if l.seg.offset == firstOffset {
			return fmt.Errorf("%w: an entry does not fit into a segment of %d bytes", wire.ErrTooLarge, l.seg.size)
		}
		if err := l.rotate(); err != nil {
			return err
		}
	}
}

// fits reports whether a group of that many bytes still leaves room for an
// idle seal and for the seal that ends the segment, with one point more.
func (l *Log) fits(entries int64, runs int) bool {
	seals := sealBytes(0, 0) + sealBytes(len(l.seg.points)+1, len(l.seg.runs)+runs)
	return l.seg.offset+groupBytes(entries, runs)+seals <= l.seg.size
}

// gather copies as many entries as fit behind a place for the group's header
// into buf. more says that some are left.
func (l *Log) gather() (h groupHeader, more bool) {
	var header [groupHeaderBytes]byte
	l.buf = append(l.buf[:0], header[:]...)
	l.groupRuns = l.groupRuns[:0]
	for {
		e, ok, _ := l.pos.next() // checked by checkRuns
		if !ok {
			return h, false
		}
		n := len(l.groupRuns)
		newRun := n == 0 || l.groupRuns[n-1].Term != e.term
		if newRun {
			n++
		}
		bytes := int64(h.bytes) + int64(len(e.bytes))
		if !l.fits(bytes, n) || h.count > 0 && bytes > maxGroupBytes {
			return h, true
		}
		if newRun {
			l.groupRuns = append(l.groupRuns, wire.TermRun{First: e.index, Term: e.term})
		}
		if h.count == 0 {
			h.first = e.index
		}
		l.buf = append(l.buf, e.bytes...)
		h.bytes, h.count = uint32(bytes), h.count+1
		l.pos.skip(e)
	}
}

// writeGroup completes the group in buf and writes it with one call.
func (l *Log) writeGroup(h *groupHeader) error {
	s := &l.seg
	h.prev, h.segment, h.sequence, h.runs = s.chain, s.number, l.sequence+1, uint32(len(l.groupRuns))
	putGroupHeader(l.buf, h, placeSeed(s.seed, s.offset))
	l.buf = append(l.buf, zeroPad[:align8(int64(h.bytes))-int64(h.bytes)]...)
	tail := len(l.buf)
	l.buf = appendMark(l.buf, &mark{
		sequence: h.sequence, first: h.first, count: h.count, bytes: h.bytes, synced: l.synced, runs: l.groupRuns,
	})
	var chain uint32
	l.buf, chain = closeRecord(l.buf, tail, s.chain, placeSeed(s.seed, s.offset+int64(tail)))
	if err := writeFull(s.file, l.buf, s.offset); err != nil {
		return l.writeFailed(err)
	}
	superseding := l.live.add(l.end(), h.first, h.count, l.groupRuns)
	s.note(h.first, l.groupRuns, superseding)
	s.offset += int64(len(l.buf))
	s.chain = chain
	l.sequence, l.attested = h.sequence, false
	return nil
}

// note keeps the segment's index for its seal, before offset moves on.
func (s *segment) note(first wire.Index, runs []wire.TermRun, superseding bool) {
	if n := len(s.points); n == 0 || superseding || s.offset-s.points[n-1].offset >= pointBytes {
		s.points = append(s.points, point{first, s.offset})
	}
	if superseding {
		s.runs = append(s.runs, runs...)
	} else {
		s.runs = joinRuns(s.runs, runs)
	}
}

// Sync returns when all that was appended is on the disk. A failure fences the
// log for ever: it is not tried again.
func (l *Log) Sync() error {
	if l.fenced != nil {
		return l.fenced
	}
	if l.synced == l.end() {
		return nil
	}
	if err := l.seg.file.Sync(); err != nil {
		return fmt.Errorf("cannot sync: %w", l.fence(err))
	}
	l.synced = l.end()
	return nil
}
