package wal

import (
	"errors"
	"fmt"

	"github.com/dnode-engine/dnode/wire"
)

// RecordKind says what a Record describes.
type RecordKind uint8

// The kinds, in the order in which Inspect shows them.
const (
	KindIdentity RecordKind = iota + 1 // the identity file
	KindVote                           // the vote file
	KindSegment                        // one segment file
	KindGroup                          // a verified group
	KindEntry                          // one entry of the group before
	KindSeal                           // a verified seal
	KindDamage                         // a stretch that does not verify
	KindFree                           // prepared space after the last record
	KindOther                          // a file that is no part of the log
	KindFence                          // the marker of a failed write or sync
	KindSlot                           // a damaged slot of the vote file
	KindVerdict                        // last: what Open would do
)

func (k RecordKind) String() string {
	names := [...]string{"", "identity", "vote", "segment", "group", "entry", "seal", "damage", "free", "other", "fence", "slot", "verdict"}
	return names[min(int(k), len(names)-1)]
}

// Record is one thing found in a data folder. It is valid during the visit.
type Record struct {
	Kind        RecordKind
	File        string // relative to the data folder
	Offset      int64
	Bytes       int64
	Segment     uint64
	Sequence    uint64         // of a group; of the group before a seal
	First, Last wire.Index     // entries of a group, or affected by damage; zero: unknown
	Runs        []wire.TermRun // terms of a group
	Entry       wire.Entry     // of KindEntry
	// Corrupt: Open refuses the log because of this. Damage that is not
	// corrupt is an unattested tail, which Open cuts.
	Corrupt bool
	Text    string // the case in words, one line
}

// Verify does what Open does, without changing anything: it reports what Open
// would return. The owner is taken from the identity file, or else from the
// first segment.
func Verify(fs FS) (*Recovered, error) {
	opt, err := foundOptions(fs)
	if err != nil {
		return nil, err
	}
	r := recovery{log: &Log{fs: fs, opt: opt, live: live{first: 1}}, out: &Recovered{}, dry: true}
	err = r.open()
	if f := r.log.seg.file; f != nil {
		err = errors.Join(err, f.Close())
	}
	if err == nil || errors.Is(err, ErrNotExist) { // no wal folder: a new log
		err = verifyVotes(fs, opt.Owner)
	}
	if err != nil {
		return nil, fmt.Errorf("the log does not verify: %w", err)
	}
	return r.out, nil
}

// verifyVotes refuses the vote file that OpenVotes refuses, as far as it is known
// whose it should be.
func verifyVotes(fs FS, owner wire.ReplicaID) error {
	f, err := fs.Open(voteName)
	if errors.Is(err, ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	slots, valid := readSlots(f)
	err = checkSlots(slots, valid, owner)
	return errors.Join(err, f.Close())
}

// foundOptions reads whose folder it is.
func foundOptions(fs FS) (Options, error) {
	opt := Options{SegmentBytes: wire.DefaultSegmentBytes}
	id, err := LoadIdentity(fs)
	if err == nil {
		opt.Owner = id.Replica
		return opt, nil
	}
	if !errors.Is(err, ErrNotExist) {
		return opt, err
	}
	f, err := fs.Open(segmentName(1))
	if errors.Is(err, ErrNotExist) {
		return opt, nil
	}
	if err != nil {
		return opt, err
	}
	h, err := checkSegment(f, 1)
	opt.Owner = h.owner
	return opt, errors.Join(err, f.Close())
}

// Inspect shows everything in a data folder to visit, in order of place, past
// damage too, and changes nothing. An error of visit ends it and is returned;
// damage is no error.
func Inspect(fs FS, visit func(*Record) error) error {
	in := inspection{fs: fs, visit: visit}
	if err := in.run(); err != nil {
		return fmt.Errorf("cannot inspect the log: %w", err)
	}
	return nil
}

type inspection struct {
	fs       FS
	visit    func(*Record) error
	owner    wire.ReplicaID
	known    bool  // the owner is
	member   bool  // the identity names a cluster, whose founding is in the log
	attested place // highest place that anything valid speaks for
	ended    bool  // something was met at which Open's scan ends
	quiet    bool  // first pass: only attested is wanted
	last     wire.Index
	win      window
	entries  window
}

func (in *inspection) run() error {
	if err := in.small(); err != nil {
		return err
	}
	names, err := in.fs.List(walDir)
	if err != nil && !errors.Is(err, ErrNotExist) {
		return err
	}
	for _, in.quiet = range []bool{true, false} {
		if err := in.all(names); err != nil {
			return err
		}
	}
	return in.verdict()
}

// verdict asks the recovery itself.
func (in *inspection) verdict() error {
	r := Record{Kind: KindVerdict}
	switch rec, err := Verify(in.fs); {
	case err != nil:
		r.Corrupt, r.Text = true, err.Error()
	case rec.Last == 0 && in.member:
		r.Corrupt, r.Text = true, "the log holds no entries, but the identity names a cluster: files are missing, and the node refuses to start: bring them back from a copy that is not older; without one this node stays out, and the others go on without it if they are a majority"
	case rec.Last == 0 && rec.Cut == nil:
		r.Text = "the log is empty"
	case rec.Cut != nil:
		r.First, r.Last = rec.First, rec.Last
		r.Text = fmt.Sprintf("entries %d to %d are whole; the next start will have %s", rec.First, rec.Last, rec.Cut)
	default:
		r.First, r.Last = rec.First, rec.Last
		r.Text = fmt.Sprintf("entries %d to %d are whole, nothing of the log is damaged", rec.First, rec.Last)
	}
	return in.show(r)
}

func (in *inspection) show(r Record) error {
	if in.quiet {
		return nil
	}
	return in.visit(&r)
}

// small shows the identity and vote files.
func (in *inspection) small() error {
	r := Record{Kind: KindIdentity, File: identityName}
	switch id, err := LoadIdentity(in.fs); {
	case err == nil:
		in.owner, in.known = id.Replica, true
		if id.LastSealed > 0 {
			in.attest(place{id.LastSealed + 1, firstOffset})
		}
		in.member = !id.Cluster.IsZero()
		r.Bytes = int64(len(appendIdentity(nil, &id)))
		r.Text = fmt.Sprintf("name %q, replica %s, cluster %s, id %d, last sealed segment %d", id.Name, id.Replica, id.Cluster, id.ID, id.LastSealed)
	case errors.Is(err, ErrNotExist):
		used, err := logExists(in.fs)
		if err != nil {
			return err
		}
		r.Text = "there is no identity file: a new folder, or not a data folder"
		if used {
			r.Kind, r.Text = KindDamage, "there is no identity file beside a log: the node refuses to start; "+restoreAdvice
		}
	default:
		r.Corrupt, r.Text = true, err.Error()
	}
	if err := in.show(r); err != nil {
		return err
	}
	if err := in.vote(); err != nil {
		return err
	}
	return in.fence()
}

func (in *inspection) vote() error {
	r := Record{Kind: KindVote, File: voteName}
	f, err := in.fs.Open(voteName)
	if errors.Is(err, ErrNotExist) {
		used, err := logExists(in.fs)
		r.Text = "there is no vote file: the node has never started"
		if used {
			r.Kind, r.Text = KindDamage, "there is no vote file beside a log: "+forgotten+"; a single node starts without it, and somebody must know that no other node ever used this folder or a copy of it"
		}
		return errors.Join(err, in.show(r))
	}
	if err != nil {
		return err
	}
	if r.Bytes, err = f.Size(); err != nil {
		return errors.Join(err, f.Close())
	}
	slots, valid := readSlots(f)
	st, worse := judgeSlots(slots, valid)
	r.Text = fmt.Sprintf("term %d, voted for %d, slot versions %d and %d", st.Vote.Term, st.Vote.For, slots[0].version, slots[1].version)
	if st.Abstain {
		r.Kind = KindDamage
		why := "a vote may be forgotten: start the node, it abstains from votes until a leader has reached it"
		if st.Vote.Term == 0 {
			why = forgotten
		}
		r.Text += fmt.Sprintf("; slots valid: %v, %v: %s; %s", valid[0], valid[1], why, consent)
	}
	if err := checkSlots(slots, valid, in.owner); err != nil {
		r.Kind, r.Corrupt, r.Text = KindDamage, true, "the node refuses to start: "+err.Error()
	}
	err = in.show(r)
	if err == nil && st.Mended && !st.Abstain {
		err = in.show(Record{
			Kind: KindSlot, File: voteName, Offset: int64(worse) * slotStride, Bytes: slotBytes,
			Text: "this slot is damaged: the other holds all that was relied on, and the next start writes it over this one",
		})
	}
	return errors.Join(err, f.Close())
}

// What follows from a vote that may be forgotten.
const (
	forgotten = "nothing is left of how this node voted, and a member of several refuses to start: bring the file back from a copy that is not older"
	consent   = "a single node refuses to start until somebody has removed the file who knows that no other node ever used this folder or a copy of it"
)

// fence shows the marker of a failed sync.
func (in *inspection) fence() error {
	left, err := fenceMarkerLeft(in.fs)
	if err != nil || !left {
		return err
	}
	return in.show(Record{
		Kind: KindFence, File: fenceMarker,
		Text: "left by a write or sync that failed; the next start reads everything past the page cache, and removes it",
	})
}

func (in *inspection) attest(p place) {
	if in.attested.less(p) {
		in.attested = p
	}
}

// all walks over the files of the wal folder.
func (in *inspection) all(names []string) error {
	in.last, in.ended = 0, false
	want := uint64(1)
	for _, base := range names {
		number, ok := segmentNumber(base)
		if !ok {
			r := Record{Kind: KindOther, File: walDir + "/" + base, Text: "no part of the log"}
			if isTemporary(base) {
				r.Text = "a segment that was being prepared; the next start removes it"
			}
			if err := in.show(r); err != nil {
				return err
			}
			continue
		}
		if err := in.missing(want, number-1); err != nil {
			return err
		}
		want = number + 1
		if number > spareSegments { // prepared while that one was in use, or a later one
			in.attest(place{number - spareSegments, firstOffset})
		}
		if err := in.segment(number); err != nil {
			return err
		}
	}
	return in.missing(want, in.attested.segment)
}

// missing shows that segments are missing, any number of them at once.
func (in *inspection) missing(from, to uint64) error {
	if from > to {
		return nil
	}
	in.attest(place{to, firstOffset})
	text := "the file is missing"
	if from < to {
		text = fmt.Sprintf("the files of segments %d to %d are missing", from, to)
	}
	return in.show(Record{Kind: KindDamage, File: segmentName(from), Segment: from, Corrupt: true, Text: text})
}

// segment shows one file.
func (in *inspection) segment(number uint64) error {
	name := segmentName(number)
	f, err := in.fs.Open(name)
	if err != nil {
		return err
	}
	h, err := checkSegment(f, number)
	var c *CorruptError
	switch {
	case errors.As(err, &c):
		err = in.show(Record{Kind: KindDamage, File: name, Segment: number, Bytes: segHeaderBytes, Corrupt: true, Text: c.Reason})
	case err == nil && in.known && h.owner != in.owner:
		err = in.show(Record{Kind: KindDamage, File: name, Segment: number, Bytes: segHeaderBytes, Corrupt: true, Text: "the segment is of replica " + h.owner.String()})
	case err == nil:
		in.owner, in.known = h.owner, true
		err = in.show(Record{
			Kind: KindSegment, File: name, Segment: number, Bytes: h.size,
			Text: fmt.Sprintf("segment %d of replica %s, %d bytes", number, h.owner, h.size),
		})
		if err == nil {
			err = in.records(f, h)
		}
		if u, ok := errors.AsType[*unreadableError](err); ok {
			err = in.show(Record{
				Kind: KindDamage, File: name, Segment: number, Offset: u.offset, Corrupt: true,
				Text: u.Error() + "; the rest of the file is not shown, and the log is refused: it may have been durable",
			})
		}
	}
	return errors.Join(err, f.Close())
}

// records shows what a segment holds; after damage it goes on at the next
// place where a record verifies.
func (in *inspection) records(f File, h segHeader) error {
	s := newScanner(&in.win, f, h)
	for {
		rec, err := s.next()
		if err != nil {
			return err
		}
		switch rec.kind {
		case foundGroup:
			err = in.group(f, &s, &rec)
		case foundSeal:
			if err = in.seal(&s, &rec); err == nil && rec.seal.successor != 0 {
				return nil
			}
		default:
			more, err := in.gap(&s, &rec)
			if err != nil || !more {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

func (in *inspection) group(f File, s *scanner, rec *record) error {
	h := &rec.group
	in.attest(rec.mark.synced)
	r := Record{
		Kind: KindGroup, File: segmentName(s.number), Offset: rec.offset, Bytes: rec.size, Segment: s.number,
		Sequence: h.sequence, First: h.first, Last: h.last(), Runs: rec.mark.runs,
	}
	r.Text = fmt.Sprintf("group %d: entries %d to %d, %d bytes, terms %d to %d, synced through offset %d of segment %d",
		h.sequence, h.first, h.last(), h.bytes, rec.mark.runs[0].Term, rec.mark.runs[len(rec.mark.runs)-1].Term, rec.mark.synced.offset, rec.mark.synced.segment)
	if h.first <= in.last {
		r.Text += fmt.Sprintf("; supersedes entries %d to %d", h.first, in.last)
	}
	in.last = h.last()
	if in.quiet {
		return nil
	}
	if err := in.show(r); err != nil {
		return err
	}
	return in.groupEntries(f, s, rec)
}

func (in *inspection) groupEntries(f File, s *scanner, rec *record) error {
	off, end := rec.offset+groupHeaderBytes, rec.offset+groupHeaderBytes+int64(rec.group.bytes)
	in.entries.reset(f, int(min(maxReadChunk, end-off)))
	for off < end {
		e, b, err := in.entries.entry(off, end)
		if err != nil {
			return err
		}
		r := Record{Kind: KindEntry, File: segmentName(s.number), Offset: off, Bytes: int64(len(b)), Segment: s.number, Sequence: rec.group.sequence, First: e.Index, Last: e.Index, Entry: e}
		if !in.quiet {
			r.Text = fmt.Sprintf("entry %d, term %d, %s, %d bytes", e.Index, e.Term, e.Type, e.Size)
		}
		if err := in.show(r); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return nil
}

func (in *inspection) seal(s *scanner, rec *record) error {
	v := &rec.seal
	in.attest(v.synced)
	text := "written when idle"
	switch {
	case v.successor != 0:
		if !in.ended {
			in.attest(place{v.successor, 0}) // it was there, though nothing in it need be
		}
		text = fmt.Sprintf("ends the segment, segment %d follows", v.successor)
	case v.reason == sealStop:
		text = "written at a clean stop"
	}
	return in.show(Record{
		Kind: KindSeal, File: segmentName(s.number), Offset: rec.offset, Bytes: rec.size, Segment: s.number, Sequence: v.sequence, Last: v.last,
		Text: fmt.Sprintf("seal %s: synced through offset %d of segment %d, last entry %d", text, v.synced.offset, v.synced.segment, v.last),
	})
}

// gap shows what stands where no record verifies. more says that one does
// further on, where the scanner then is.
func (in *inspection) gap(s *scanner, rec *record) (more bool, err error) {
	in.ended = true
	ev, err := s.search(rec.offset)
	if err != nil {
		return false, err
	}
	in.attest(ev.synced)
	at := place{s.number, rec.offset}
	r := Record{File: segmentName(s.number), Offset: rec.offset, Segment: s.number, First: rec.fault.first, Last: rec.fault.last}
	r.Corrupt = at.less(in.attested)
	if ev.lastDirty == rec.offset && !r.Corrupt {
		r.Kind, r.Bytes = KindFree, s.size-rec.offset
		r.Text = fmt.Sprintf("%d bytes prepared and unused", r.Bytes)
		return false, in.show(r)
	}
	next, err := s.resume(rec.offset + 8)
	if err != nil {
		return false, err
	}
	r.Kind, r.Bytes = KindDamage, max(min(ev.lastDirty, next), rec.offset)-rec.offset
	r.Text = endReason(*rec)
	if rec.fault.err != nil {
		r.Text += ": " + rec.fault.err.Error()
	}
	if r.Corrupt {
		r.Text += fmt.Sprintf("; this was durable, all before offset %d of segment %d is attested: the log is refused", in.attested.offset, in.attested.segment)
	} else {
		r.Text += "; nothing attests that this was ever durable: the next start cuts it and says so"
	}
	return next < s.size, in.show(r)
}

// resume moves the scanner to the next offset where a group's header or a seal
// verifies, or to the end.
func (s *scanner) resume(off int64) (int64, error) {
	for ; off < s.size; off += 8 {
		b, err := s.win.at(off, groupHeaderBytes)
		if err != nil || len(b) < groupHeaderBytes {
			return s.size, err
		}
		if h, ok := parseGroupHeader(b, placeSeed(s.seed, off)); ok {
			s.offset, s.chain = off, h.prev
			return off, nil
		}
		if le.Uint32(b) != recSeal {
			continue
		}
		if b, err = s.win.at(off, sealFixedBytes); err != nil {
			return s.size, err
		}
		if len(b) < sealFixedBytes || sealSize(b) > s.size-off {
			continue
		}
		if b, err = s.win.at(off, int(sealSize(b))); err != nil {
			return s.size, err
		}
		if v, ok := parseSeal(b, placeSeed(s.seed, off)); ok {
			s.offset, s.chain = off, v.prev
			return off, nil
		}
	}
	return s.size, nil
}
