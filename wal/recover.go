package wal

import (
	"errors"
	"fmt"
	"slices"

	"github.com/dnode-engine/dnode/wire"
)

// Recovered is what Open found in the log.
type Recovered struct {
	First, Last wire.Index     // empty log: 1 and 0
	Runs        []wire.TermRun // terms of all live entries
	Configs     []ConfigEntry  // live configuration entries, oldest first
	LastTime    uint64         // time stamp of the last entry
	Cut         *CutRange      // the unattested tail that was cut, nil if none
	Fenced      bool           // the last user was fenced; the disk was read past the cache
}

// ConfigEntry is a configuration entry found in the log.
type ConfigEntry struct {
	Index   wire.Index
	Term    wire.Term
	Payload []byte // the entry's payload, a copy
}

// recovery is the state of Open.
type recovery struct {
	log     *Log
	out     *Recovered
	numbers []uint64 // segments in the folder, ascending
	dry     bool     // change nothing: for Verify

	attested  place   // highest place that something valid says was durable
	lastGroup place   // end of the last valid group
	stays     bool    // what attests it is a valid record, and not the tail to be cut
	ends      []int64 // where the valid records of numbers[i] end
	pending   []ConfigEntry
}

// Open recovers the log in a data folder, or begins a new one. It verifies
// every record. Damage to anything that was known to be durable is a
// *CorruptError and changes nothing; what may be torn is only the tail that no
// later record attests: it is cut, and reported in Recovered.Cut. What is left
// of that tail is written again and synced before Open returns, so that all
// that Recovered reports is on the disk.
func Open(fs FS, opt Options) (*Log, *Recovered, error) {
	r := recovery{
		log: &Log{fs: fs, opt: opt, live: live{first: 1}},
		out: &Recovered{},
	}
	if err := r.open(); err != nil {
		if f := r.log.seg.file; f != nil {
			err = errors.Join(err, f.Close())
		}
		return nil, nil, fmt.Errorf("cannot open the log: %w", err)
	}
	return r.log, r.out, nil
}

func (r *recovery) open() error {
	if err := r.log.opt.check(); err != nil {
		return err
	}
	if err := r.folder(); err != nil {
		return err
	}
	if len(r.numbers) == 0 {
		return r.found()
	}
	active, fault, err := r.scanAll()
	if err != nil {
		return err
	}
	r.stays = !r.attested.less(r.lastGroup)
	if err := r.judge(active, fault); err != nil {
		return err
	}
	r.publish()
	if r.dry {
		return nil
	}
	return r.settle(active)
}

// folder lists the segments, removes temporary files, and checks that no
// segment is missing.
func (r *recovery) folder() error {
	l := r.log
	if err := r.makeFolder(); err != nil {
		return err
	}
	var err error
	if r.out.Fenced, err = fenceMarkerLeft(l.fs); err != nil {
		return err
	}
	switch id, err := LoadIdentity(l.fs); {
	case err == nil && id.Replica != l.opt.Owner:
		return fmt.Errorf("%w: the folder is of replica %s, this is %s", ErrOwner, id.Replica, l.opt.Owner)
	case err == nil:
		l.recorded = id.LastSealed
	case !errors.Is(err, ErrNotExist):
		return err
	}
	names, err := l.fs.List(walDir)
	if err != nil {
		return err
	}
	for _, base := range names {
		if n, ok := segmentNumber(base); ok {
			r.numbers = append(r.numbers, n)
		} else if isTemporary(base) && !r.dry {
			if err := l.fs.Remove(walDir + "/" + base); err != nil {
				return err
			}
		}
	}
	slices.Sort(r.numbers)
	return r.checkNumbers()
}

func (r *recovery) makeFolder() error {
	if r.dry {
		return nil
	}
	if err := r.log.fs.MkdirAll(walDir); err != nil {
		return err
	}
	return r.log.fs.SyncDir(rootDir)
}

// checkNumbers refuses a log with a segment missing: below another, or below
// what the identity file remembers, whose successor existed too.
func (r *recovery) checkNumbers() error {
	want := uint64(1)
	for _, n := range r.numbers {
		if n != want {
			return &CorruptError{File: segmentName(want), Reason: fmt.Sprintf("the file is missing, but %s is there", segmentName(n))}
		}
		want++
	}
	if sealed := r.log.recorded; sealed > 0 && want <= sealed+1 {
		return &CorruptError{File: segmentName(want), Reason: fmt.Sprintf("the file is missing, but the identity file says that segment %d was sealed", sealed)}
	}
	return nil
}

// found begins the log of a new folder.
func (r *recovery) found() error {
	l := r.log
	if r.dry {
		r.publish()
		return nil
	}
	if err := l.prepareInline(1); err != nil {
		return err
	}
	l.spare = 0
	f, err := l.fs.Open(segmentName(1))
	if err != nil {
		return err
	}
	l.begin(1, f, l.opt.SegmentBytes)
	l.synced, l.attested = l.end(), true
	r.publish()
	return r.clearFence()
}

// clearFence forgets that the last user was fenced: what it left is verified.
func (r *recovery) clearFence() error {
	if !r.out.Fenced {
		return nil
	}
	return removeFenceMarker(r.log.fs)
}

// scanAll reads the segments in order up to the first that is not sealed and
// returns its position in numbers, and what ended it.
func (r *recovery) scanAll() (active int, f record, err error) {
	for i := range r.numbers {
		sealed, end, err := r.scanSegment(i)
		if err != nil || !sealed {
			return i, end, err
		}
	}
	last := r.numbers[len(r.numbers)-1]
	return 0, f, &CorruptError{File: segmentName(last + 1), Reason: fmt.Sprintf("the file is missing, but the seal of %s names it", segmentName(last))}
}

// openSegment opens a segment and checks its header. The file is closed unless
// it is returned.
func (r *recovery) openSegment(number uint64) (File, segHeader, error) {
	f, err := r.log.fs.Open(segmentName(number))
	if err != nil {
		return nil, segHeader{}, err
	}
	if r.out.Fenced {
		if err := dropCache(f); err != nil {
			return nil, segHeader{}, errors.Join(err, f.Close())
		}
	}
	h, err := checkSegment(f, number)
	if err == nil && h.owner != r.log.opt.Owner {
		err = fmt.Errorf("%w: %s is of replica %s, this is %s", ErrOwner, segmentName(number), h.owner, r.log.opt.Owner)
	}
	if err != nil {
		return nil, h, errors.Join(err, f.Close())
	}
	return f, h, nil
}

// checkSegment reads and verifies a segment's header. A segment got its name
// only after it was complete and synced, so anything wrong with it is damage.
func checkSegment(f File, number uint64) (segHeader, error) {
	var b [segHeaderBytes]byte
	n, err := f.ReadAt(b[:], 0)
	if err != nil {
		return segHeader{}, &CorruptError{File: segmentName(number), Reason: "the segment header cannot be read", Err: err}
	}
	h, reason := parseSegHeader(b[:n])
	size, err := f.Size()
	switch {
	case err != nil:
		return h, err
	case reason != "":
	case h.number != number:
		reason = fmt.Sprintf("it says that it is segment %d", h.number)
	case h.size != size:
		reason = fmt.Sprintf("it was made with %d bytes and has %d", h.size, size)
	}
	if reason != "" {
		return h, &CorruptError{File: segmentName(number), Reason: reason}
	}
	return h, nil
}

// scanSegment takes in the records of one segment. If a seal ends it, sealed
// is true. Otherwise end says what stands after its last valid record, and the
// segment has become the one being written.
func (r *recovery) scanSegment(i int) (sealed bool, end record, err error) {
	l, number := r.log, r.numbers[i]
	f, h, err := r.openSegment(number)
	if err != nil {
		return false, end, err
	}
	s := newScanner(&l.win, f, h)
	s.entry = r.noteEntry
	l.begin(number, f, h.size)
	for {
		rec, err := s.next()
		if err == nil {
			err = r.admit(&rec)
		}
		if err != nil {
			return false, rec, unreadable(number, &rec, err)
		}
		l.seg.offset, l.seg.chain = s.offset, s.chain
		if rec.kind == foundEnd || rec.kind == foundFault {
			r.ends = append(r.ends, s.offset)
			return false, rec, nil
		}
		if rec.kind == foundSeal && rec.seal.successor != 0 {
			r.ends = append(r.ends, s.offset)
			l.sealed = number
			l.seg.file = nil
			return true, rec, f.Close()
		}
	}
}

// unreadable names the segment and the record in which a read has failed. Other
// errors are returned as they are.
func unreadable(number uint64, rec *record, err error) error {
	if !isUnreadable(err) {
		return err
	}
	return &CorruptError{
		File: segmentName(number), Offset: rec.offset, First: rec.fault.first, Last: rec.fault.last,
		Reason: "a record cannot be read", Err: err,
	}
}

// noteEntry keeps configuration entries until their group is known to be whole.
func (r *recovery) noteEntry(e wire.Entry, _ int64) {
	if e.Type == wire.EntryConfig {
		r.pending = append(r.pending, ConfigEntry{e.Index, e.Term, slices.Clone(e.Payload)})
	}
}

// admit takes a verified record into the log's state. A record that verifies
// and yet does not fit is damage that nobody is allowed to cut.
func (r *recovery) admit(rec *record) error {
	l := r.log
	at := place{l.seg.number, rec.offset}
	switch rec.kind {
	case foundGroup:
		reason := ""
		if rec.group.sequence != l.sequence+1 {
			reason = fmt.Sprintf("group %d follows on group %d", rec.group.sequence, l.sequence)
		} else if err := l.live.check(rec.group.first, rec.mark.runs[0].Term); err != nil {
			reason = err.Error()
		}
		if reason != "" {
			return &CorruptError{File: segmentName(at.segment), Offset: at.offset, First: rec.group.first, Last: rec.group.last(), Reason: reason}
		}
		r.keepConfigs(rec.group.first)
		superseding := l.live.add(at, rec.group.first, rec.group.count, rec.mark.runs)
		l.seg.note(rec.group.first, rec.mark.runs, superseding)
		l.sequence = rec.group.sequence
		r.out.LastTime = rec.time
		r.lastGroup = place{at.segment, rec.offset + rec.size}
		r.attest(rec.mark.synced)
	case foundSeal:
		v := &rec.seal
		if v.sequence != l.sequence || v.last != l.live.last || v.successor != 0 && !r.indexMatches(v) {
			return &CorruptError{File: segmentName(at.segment), Offset: at.offset, Reason: "a seal contradicts the groups before it"}
		}
		r.attest(v.synced)
	}
	return nil
}

// indexMatches compares what a seal says about its segment with what is there.
func (r *recovery) indexMatches(v *seal) bool {
	s := &r.log.seg
	return v.successor == s.number+1 && slices.Equal(v.points, s.points) && slices.Equal(v.runs, s.runs)
}

// keepConfigs makes the pending configuration entries, whose group begins at
// first, the newest.
func (r *recovery) keepConfigs(first wire.Index) {
	c := r.out.Configs
	for len(c) > 0 && c[len(c)-1].Index >= first {
		c = c[:len(c)-1]
	}
	r.out.Configs = append(c, r.pending...)
	r.pending = r.pending[:0]
}

func (r *recovery) attest(p place) {
	if r.attested.less(p) {
		r.attested = p
	}
}

func (r *recovery) publish() {
	v := &r.log.live
	r.out.First, r.out.Last, r.out.Runs = v.first, v.last, slices.Clone(v.runs)
}
