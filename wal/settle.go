package wal

import (
	"errors"
	"fmt"
)

// judge decides whether what ended the log was the end of what was written.
// Everything that could speak for more is asked: the identity file, segments
// beyond, and the rest of this one.
func (r *recovery) judge(active int, end record) error {
	number := r.numbers[active]
	if sealed := r.log.recorded; sealed > 0 {
		r.attest(place{sealed + 1, firstOffset})
	}
	beyond, err := r.searchFile(active, r.ends[active])
	if err != nil {
		return err
	}
	for i := active + 1; i < len(r.numbers); i++ {
		ev, err := r.searchSpare(i)
		if err != nil {
			return err
		}
		if beyond.synced.less(ev.synced) {
			beyond.synced, beyond.first = ev.synced, ev.first
		}
	}
	r.attest(beyond.synced)
	if n := len(r.numbers); n > spareSegments { // the last was prepared while this one was in use, or a later one
		r.attest(place{r.numbers[n-1-spareSegments], firstOffset})
	}
	if r.log.end().less(r.attested) {
		return r.corrupt(end, beyond)
	}
	if beyond.lastDirty > r.ends[active] {
		r.out.Cut = &CutRange{
			File: segmentName(number), Offset: r.ends[active], Bytes: beyond.lastDirty - r.ends[active],
			First: end.fault.first, Last: end.fault.last, Reason: endReason(end),
		}
	}
	return nil
}

func endReason(end record) string {
	if end.kind == foundFault {
		return end.fault.reason
	}
	return "a record's beginning is missing"
}

func (r *recovery) corrupt(end record, beyond evidence) error {
	e := &CorruptError{
		File: segmentName(r.log.seg.number), Offset: r.log.seg.offset,
		First: end.fault.first, Last: end.fault.last, Reason: endReason(end), Err: end.fault.err,
	}
	if e.First == 0 {
		e.First = r.log.live.last + 1
		if beyond.first > e.First {
			e.Last = beyond.first - 1
		}
	}
	e.Reason += fmt.Sprintf(", and all before offset %d of %s is known to have been durable", r.attested.offset, segmentName(r.attested.segment))
	return e
}

func (r *recovery) searchFile(i int, from int64) (evidence, error) {
	s := newScanner(&r.log.win, r.log.seg.file, segHeader{r.numbers[i], r.log.opt.Owner, r.log.seg.size})
	ev, err := s.search(from)
	return ev, unreadable(r.numbers[i], &record{offset: from}, err)
}

// searchSpare looks for signs of use in a segment beyond the active one. Its
// first group speaks for all before it. Without one the whole file is searched,
// though it looks unused: zeros may have replaced the end of one segment and
// the beginning of the next.
func (r *recovery) searchSpare(i int) (evidence, error) {
	f, h, err := r.openSegment(r.numbers[i])
	if err != nil {
		return evidence{}, err
	}
	s := newScanner(&r.log.win, f, h)
	rec, err := s.next()
	ev := evidence{synced: rec.mark.synced, first: rec.group.first}
	if err == nil && rec.kind != foundGroup {
		ev, err = s.search(firstOffset)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return ev, unreadable(r.numbers[i], &rec, err)
}

// settle makes sure that the disk holds what was found, and nothing else: the
// unattested tail is written again, because a page cache that survived a crash
// of the process may call clean what never reached the disk.
func (r *recovery) settle(active int) error {
	l := r.log
	for i := range active {
		if r.numbers[i] >= r.attested.segment {
			if err := r.rewriteSealed(i); err != nil {
				return err
			}
		}
	}
	if err := r.rewrite(l.seg.file, r.tailFrom(l.seg.number), l.seg.offset); err != nil {
		return err
	}
	if c := r.out.Cut; c != nil {
		if err := writeZeros(l.seg.file, c.Offset, c.Bytes); err != nil {
			return err
		}
	}
	if err := l.seg.file.Sync(); err != nil {
		leaveFenceMarker(l.fs)
		return err
	}
	if err := l.fs.SyncDir(walDir); err != nil {
		return err
	}
	l.synced = l.end()
	l.attested = r.stays
	if active+1 < len(r.numbers) {
		l.spare = r.numbers[len(r.numbers)-1]
	}
	if err := r.clearFence(); err != nil {
		return err
	}
	// What was found is on the disk now: say so there.
	if err := l.attest(sealIdle); err != nil && !Passes(err) {
		return err
	}
	return nil
}

// tailFrom returns where the unattested part of a segment begins.
func (r *recovery) tailFrom(number uint64) int64 {
	if number == r.attested.segment {
		return max(r.attested.offset, firstOffset)
	}
	return firstOffset
}

func (r *recovery) rewriteSealed(i int) error {
	f, err := r.log.fs.Open(segmentName(r.numbers[i]))
	if err != nil {
		return err
	}
	err = r.rewrite(f, r.tailFrom(r.numbers[i]), r.ends[i])
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// rewrite writes what a file holds between two offsets to the same place.
func (r *recovery) rewrite(f File, from, to int64) error {
	w := &r.log.win
	w.reset(f, int(min(maxReadChunk, to-from)))
	for from < to {
		b, err := w.exactly(from, int(min(to-from, maxReadChunk)))
		if err == nil {
			err = writeFull(f, b, from)
		}
		if err != nil {
			return err
		}
		from += int64(len(b))
	}
	return nil
}

func writeZeros(f File, off, n int64) error {
	zeros := make([]byte, min(n, fillBytes))
	for n > 0 {
		part := zeros[:min(n, int64(len(zeros)))]
		if err := writeFull(f, part, off); err != nil {
			return err
		}
		off, n = off+int64(len(part)), n-int64(len(part))
	}
	return nil
}
