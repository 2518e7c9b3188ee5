package wal

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/dnode-engine/dnode/wire"
)

const (
	walDir  = "wal"
	rootDir = ""

	// minSegmentBytes lets tests use small segments; the server asks for at
	// least wire.MinSegmentBytes.
	minSegmentBytes = 4 << 10
	fillBytes       = 64 << 10 // one write of zeros
	hurryBytes      = 1 << 20  // what is flushed at once in a hurry
)

// Options say how the log is laid out.
type Options struct {
	// SegmentBytes is the size of new segments, a multiple of 512. Existing
	// ones keep theirs.
	SegmentBytes int64
	// Owner is the replica that the folder belongs to.
	Owner wire.ReplicaID
	// Hurry, if not nil, is asked by PrepareSegment again and again, on its own
	// goroutine. While it says so, the segment is filled two to three times as fast
	// at the expense of the log's syncs meanwhile.
	Hurry func() bool
}

func (o Options) check() error {
	if o.SegmentBytes < minSegmentBytes || o.SegmentBytes%sectorBytes != 0 || o.SegmentBytes > 1<<32 {
		return fmt.Errorf("segment size %d is not a multiple of %d between %d and %d", o.SegmentBytes, sectorBytes, minSegmentBytes, int64(1)<<32)
	}
	return nil
}

func segmentName(number uint64) string { return fmt.Sprintf("%s/%08d.seg", walDir, number) }

// preparedName is where PrepareSegment leaves a segment until the log takes it.
func preparedName(number uint64) string { return fmt.Sprintf("%s/%08d.new", walDir, number) }

// inlineName is where the log itself prepares a segment that was not ready.
func inlineName(number uint64) string { return fmt.Sprintf("%s/%08d.now", walDir, number) }

// segmentNumber reads a name as listed in the folder.
func segmentNumber(base string) (uint64, bool) {
	digits, ok := strings.CutSuffix(base, ".seg")
	if !ok || len(digits) < 8 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && n > 0 && segmentName(n) == walDir+"/"+base
}

func isTemporary(base string) bool {
	return strings.HasSuffix(base, ".new") || strings.HasSuffix(base, ".now")
}

// PrepareSegment writes the segment that NeedsSegment asked for: zeros
// throughout, then its header, then a sync. It touches one file of its own, so
// it may run beside the log on another goroutine; afterwards the log is told
// by SegmentReady.
func PrepareSegment(fs FS, opt Options, number uint64) error {
	if err := fillSegment(fs, opt, number, preparedName(number)); err != nil {
		return fmt.Errorf("cannot prepare segment %d: %w", number, err)
	}
	return nil
}

// fillSegment leaves a complete, synced segment under a temporary name, or
// nothing.
func fillSegment(fs FS, opt Options, number uint64, name string) error {
	if err := opt.check(); err != nil {
		return err
	}
	f, err := fs.Create(name)
	if err != nil {
		return err
	}
	err = fill(f, opt, number)
	err = errors.Join(err, f.Close())
	if err != nil {
		fs.Remove(name) //nolint:errcheck // best effort: the first error is reported
	}
	return err
}

// fill writes one piece after the other through to the device where that can be
// done: a whole segment of dirty pages at once would hold up the log's syncs.
func fill(f File, opt Options, number uint64) error {
	zeros := make([]byte, min(opt.SegmentBytes, fillBytes))
	flusher, _ := f.(Flusher)
	flushed := int64(0)
	for off := int64(0); off < opt.SegmentBytes; {
		n := min(int64(len(zeros)), opt.SegmentBytes-off)
		if err := writeFull(f, zeros[:n], off); err != nil {
			return err
		}
		off += n
		hurry := opt.Hurry != nil && opt.Hurry()
		if flusher == nil || hurry && off-flushed < hurryBytes {
			continue
		}
		if err := flusher.Flush(flushed, off-flushed); err != nil {
			return err
		}
		flushed = off
	}
	putSegHeader(zeros, segHeader{number: number, owner: opt.Owner, size: opt.SegmentBytes})
	if err := writeFull(f, zeros[:segHeaderBytes], 0); err != nil {
		return err
	}
	return f.Sync()
}

// writeFull writes all of p, resuming short writes where they stopped.
func writeFull(f File, p []byte, off int64) error {
	for len(p) > 0 {
		n, err := f.WriteAt(p, off)
		if err != nil {
			return err
		}
		if n <= 0 {
			return fmt.Errorf("write of %d bytes at offset %d made no progress", len(p), off)
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}
