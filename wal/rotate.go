package wal

import (
	"errors"
	"fmt"
)

// maxUnrecorded bounds how many sealed segments the identity file may lag
// behind while no idle moment comes.
const maxUnrecorded = 16

// spareSegments are prepared beyond the one being written. While both are there
// the log can go on for as long as they last on a disk that is full, which is
// how the owner has time to refuse new data.
const spareSegments = 2

// NeedsSegment returns the number of the segment to be prepared next, if any is
// missing. Cheap enough to ask after every append.
func (l *Log) NeedsSegment() (number uint64, ok bool) {
	return l.lastPrepared() + 1, l.Spares() < spareSegments && l.fenced == nil
}

// Spares returns how many prepared segments are left, at most two.
func (l *Log) Spares() int { return int(l.lastPrepared() - l.seg.number) }

// Room returns how many bytes of groups the segment being written still takes.
func (l *Log) Room() int64 {
	seals := sealBytes(0, 0) + sealBytes(len(l.seg.points)+1, len(l.seg.runs)+1)
	return max(0, l.seg.size-l.seg.offset-seals)
}

// lastPrepared is the newest segment: a spare, or the one being written.
func (l *Log) lastPrepared() uint64 { return max(l.spare, l.seg.number) }

// SegmentReady tells the log that PrepareSegment succeeded for that number. It
// takes the segment over with a rename and a sync of the folder. If the log
// could not wait and has made its own, or the rename fails, the prepared file
// is dropped and NeedsSegment asks again where needed.
func (l *Log) SegmentReady(number uint64) {
	if l.fenced != nil {
		return
	}
	if n, ok := l.NeedsSegment(); ok && number == n {
		if err := l.adopt(preparedName(number), number); err == nil || l.fenced != nil {
			return
		}
	}
	l.fs.Remove(preparedName(number)) //nolint:errcheck // best effort: Open removes what is left
}

// adopt gives a complete and synced file its name in the log.
func (l *Log) adopt(from string, number uint64) error {
	if err := l.fs.Rename(from, segmentName(number)); err != nil {
		return err
	}
	if err := l.fs.SyncDir(walDir); err != nil {
		return l.fence(err)
	}
	l.spare = number
	return nil
}

// prepareInline is for a segment that was not ready in time.
func (l *Log) prepareInline(number uint64) error {
	name, opt := inlineName(number), l.opt
	opt.Hurry = func() bool { return true }
	if err := fillSegment(l.fs, opt, number, name); err != nil {
		return err
	}
	return l.adopt(name, number)
}

// rotate seals the segment, syncs it, and goes on in the next one. The sync
// comes before anything is written to the next segment: a group there implies
// that all of this one is on the disk.
func (l *Log) rotate() error {
	next := l.seg.number + 1
	if l.spare < next {
		if err := l.prepareInline(next); err != nil {
			return fmt.Errorf("cannot prepare segment %d: %w", next, err)
		}
	}
	f, err := l.fs.Open(segmentName(next))
	if err != nil {
		return l.writeFailed(err)
	}
	if err := l.sealSegment(next); err != nil {
		return errors.Join(err, f.Close())
	}
	size, err := f.Size()
	if err != nil {
		return l.fence(errors.Join(err, f.Close()))
	}
	old := l.seg
	l.begin(next, f, size)
	if err := old.file.Close(); err != nil {
		return l.fence(err)
	}
	if l.sealed-l.recorded >= maxUnrecorded {
		return l.record()
	}
	return nil
}

// sealSegment writes the seal that names the successor, and syncs.
func (l *Log) sealSegment(next uint64) error {
	s := &l.seg
	err := l.writeSeal(&seal{reason: sealRotate, successor: next, points: s.points, runs: s.runs})
	if err != nil {
		return err
	}
	if err := l.Sync(); err != nil {
		return err
	}
	l.sealed = s.number
	return nil
}

// begin makes an empty prepared segment the one being written.
func (l *Log) begin(number uint64, f File, size int64) {
	seed := identitySeed(number, l.opt.Owner)
	l.seg = segment{
		number: number, file: f, size: size, seed: seed, offset: firstOffset, chain: seed,
		points: l.seg.points[:0], runs: l.seg.runs[:0],
	}
}

// writeSeal completes and writes a seal, without a sync.
func (l *Log) writeSeal(s *seal) error {
	g := &l.seg
	s.prev, s.segment, s.sequence, s.synced, s.last = g.chain, g.number, l.sequence, l.synced, l.live.last
	l.buf = appendSeal(l.buf[:0], s)
	var chain uint32
	l.buf, chain = closeRecord(l.buf, 0, g.chain, placeSeed(g.seed, g.offset))
	if err := writeFull(g.file, l.buf, g.offset); err != nil {
		return l.writeFailed(err)
	}
	g.offset += int64(len(l.buf))
	g.chain = chain
	return nil
}

// record tells the identity file which segment was sealed last.
func (l *Log) record() error {
	if l.recorded == l.sealed {
		return nil
	}
	err := recordSealed(l.fs, l.sealed)
	switch {
	case err == nil || errors.Is(err, ErrNotExist):
		l.recorded = l.sealed
	case Passes(err):
		// What it says stays true; the next occasion tries again.
	default:
		return l.fence(err)
	}
	return nil
}

// Seal closes the window in which the last group is durable and nothing on the
// disk says so: it syncs, writes a seal, and syncs again. It does nothing if
// that has been done since the last append. Call it when idle, at most about
// once a second.
func (l *Log) Seal() error { return l.attest(sealIdle) }

func (l *Log) attest(reason uint32) error {
	if err := l.Sync(); err != nil {
		return err
	}
	if !l.attested {
		if err := l.writeAttestation(reason); err != nil {
			return fmt.Errorf("cannot seal: %w", err)
		}
	}
	if err := l.record(); err != nil {
		return fmt.Errorf("cannot record the sealed segment: %w", err)
	}
	return nil
}

// writeAttestation writes a short seal. There is always room: fits kept it.
func (l *Log) writeAttestation(reason uint32) error {
	if err := l.writeSeal(&seal{reason: reason}); err != nil {
		return err
	}
	if err := l.Sync(); err != nil {
		return err
	}
	l.attested = true
	return nil
}

// Close seals, syncs and closes the log. A fenced log is closed as it is.
func (l *Log) Close() error {
	var err error
	if l.fenced == nil {
		err = l.attest(sealStop)
		if Passes(err) {
			err = nil // everything is synced, only the seal is missing
		}
	}
	err = errors.Join(err, l.seg.file.Close())
	if l.reader != nil {
		err = errors.Join(err, l.reader.Close())
	}
	if l.fenced == nil {
		l.fenced = errors.New("log is closed")
	}
	return err
}
