package wal

import (
	"errors"
	"fmt"

	"github.com/dnode-engine/dnode/wire"
)

// window reads a file forward through one buffer.
type window struct {
	file  File
	chunk int // bytes to read ahead
	buf   []byte
	from  int64 // offset of buf[0]
}

func (w *window) reset(f File, chunk int) {
	w.file, w.chunk, w.buf, w.from = f, chunk, w.buf[:0], 0
}

// at returns n bytes at off, fewer only at the end of the file. They are valid
// until the next call.
func (w *window) at(off int64, n int) ([]byte, error) {
	if off < w.from || off+int64(n) > w.from+int64(len(w.buf)) {
		size := max(n, w.chunk)
		if cap(w.buf) < size {
			w.buf = make([]byte, size)
		}
		w.buf = w.buf[:size]
		got, err := w.file.ReadAt(w.buf, off)
		if err != nil {
			w.buf = w.buf[:0]
			return nil, &unreadableError{off, err}
		}
		w.buf, w.from = w.buf[:got], off
	}
	b := w.buf[off-w.from:]
	return b[:min(n, len(b))], nil
}

var errCutShort = errors.New("the file ends within a record")

// unreadableError is a read that failed. It says nothing about what the bytes
// are: unlike bytes that do not verify, they are never taken for a torn write.
type unreadableError struct {
	offset int64 // of the read, which may have begun before the record wanted
	err    error
}

func (e *unreadableError) Error() string {
	return fmt.Sprintf("cannot read at offset %d: %v", e.offset, e.err)
}

func (e *unreadableError) Unwrap() error { return e.err }

func isUnreadable(err error) bool {
	_, ok := errors.AsType[*unreadableError](err)
	return ok
}

// exactly is at, with an error if the file ends.
func (w *window) exactly(off int64, n int) ([]byte, error) {
	b, err := w.at(off, n)
	if err == nil && len(b) < n {
		err = errCutShort
	}
	return b, err
}

const (
	minReadChunk = 4 << 10
	maxReadChunk = 256 << 10
)

// Read appends the live entries from lo on to dst and returns it: at least
// one, and no more than maxBytes of them unless the first alone is larger.
// Every entry is verified. It reads from at most 64 KiB before lo in the same
// segment. The error wraps ErrOutOfRange, or is a *CorruptError; dst comes back
// unchanged then. Entries that are not yet synced are read too.
func (l *Log) Read(dst []byte, lo wire.Index, maxBytes int) ([]byte, error) {
	if lo < l.live.first || lo > l.live.last {
		return dst, fmt.Errorf("cannot read: %w: %d, the log has %d to %d", ErrOutOfRange, lo, l.live.first, l.live.last)
	}
	c := collector{dst: dst, start: len(dst), next: lo, maxBytes: maxBytes}
	for i := l.live.find(lo); i < len(l.live.extents) && !c.full; i++ {
		if err := l.readExtent(&c, l.live.extents[i]); err != nil {
			return dst[:c.start], fmt.Errorf("cannot read: %w", err)
		}
	}
	return c.dst, nil
}

// collector takes the entries of a Read.
type collector struct {
	dst      []byte
	start    int
	next     wire.Index // next entry wanted
	maxBytes int
	full     bool
}

func (c *collector) take(b []byte) {
	if len(c.dst) > c.start && len(c.dst)-c.start+len(b) > c.maxBytes {
		c.full = true
		return
	}
	c.dst = append(c.dst, b...)
	c.next++
}

func (l *Log) readExtent(c *collector, x extent) error {
	f, seed, err := l.openForRead(x.segment)
	if err != nil {
		return err
	}
	l.win.reset(f, max(minReadChunk, min(maxReadChunk, c.maxBytes-(len(c.dst)-c.start)+minReadChunk)))
	off := x.offset
	for c.next <= x.last && !c.full {
		n, err := l.readRecord(c, x, place{x.segment, off}, seed)
		if err != nil {
			return &CorruptError{File: segmentName(x.segment), Offset: off, First: c.next, Last: x.last, Reason: "a live record cannot be read", Err: err}
		}
		off += n
	}
	return nil
}

// openForRead returns the file of a segment: the one being written, or the
// sealed one that was read last.
func (l *Log) openForRead(number uint64) (File, uint32, error) {
	if number == l.seg.number {
		return l.seg.file, l.seg.seed, nil
	}
	if l.reader != nil && l.readerOf == number {
		return l.reader, l.readerSeed, nil
	}
	f, err := l.fs.Open(segmentName(number))
	if err != nil {
		return nil, 0, err
	}
	if l.reader != nil {
		l.reader.Close() //nolint:errcheck // opened for reading
	}
	l.reader, l.readerOf, l.readerSeed = f, number, identitySeed(number, l.opt.Owner)
	return f, l.readerSeed, nil
}

// readRecord hands the wanted entries of the record at a place to c and
// returns the record's size.
func (l *Log) readRecord(c *collector, x extent, at place, seed uint32) (int64, error) {
	b, err := l.win.exactly(at.offset, groupHeaderBytes)
	if err != nil {
		return 0, err
	}
	if le.Uint32(b) == recSeal {
		if b, err = l.win.exactly(at.offset, sealFixedBytes); err != nil {
			return 0, err
		}
		return sealSize(b), nil
	}
	h, ok := parseGroupHeader(b, placeSeed(seed, at.offset))
	if !ok || h.segment != at.segment {
		return 0, errors.New("no group begins here")
	}
	if h.last() < c.next {
		return h.size(), nil
	}
	off, end := at.offset+groupHeaderBytes, at.offset+groupHeaderBytes+int64(h.bytes)
	for index := h.first; off < end && index <= x.last && !c.full; index++ {
		e, b, err := l.win.entry(off, end)
		if err != nil {
			return 0, fmt.Errorf("entry %d: %w", index, err)
		}
		if e.Index != index {
			return 0, fmt.Errorf("entry %d stands where entry %d should", e.Index, index)
		}
		if index == c.next {
			c.take(b)
		}
		off += int64(len(b))
	}
	return h.size(), nil
}

// entry returns the verified entry at off, which must end by end, and its bytes.
func (w *window) entry(off, end int64) (wire.Entry, []byte, error) {
	b, err := w.exactly(off, int(min(wire.EntryHeaderBytes, end-off)))
	if err != nil {
		return wire.Entry{}, nil, err
	}
	if len(b) < wire.EntryHeaderBytes {
		return wire.Entry{}, nil, wire.ErrEntryShort
	}
	size := int64(le.Uint32(b))
	if size > end-off || size > wire.MaxEntryBytes {
		return wire.Entry{}, nil, fmt.Errorf("%w: length %d", wire.ErrEntryCorrupt, size)
	}
	if b, err = w.exactly(off, int(max(size, wire.EntryHeaderBytes))); err != nil {
		return wire.Entry{}, nil, err
	}
	e, err := wire.ParseEntry(b)
	return e, b, err
}
