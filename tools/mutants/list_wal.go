package main

const (
	walLogGo     = "wal/log.go"
	walIndexGo   = "wal/index.go"
	walScanGo    = "wal/scan.go"
	walSettleGo  = "wal/settle.go"
	walRecoverGo = "wal/recover.go"
	walRotateGo  = "wal/rotate.go"
	walSegmentGo = "wal/segment.go"
	walVoteGo    = "wal/vote.go"
	walFenceGo   = "wal/fence.go"
	walIDGo      = "wal/identity.go"
	walFormatGo  = "wal/format.go"
)

// walMutants break what is written, and when it is durable.
var walMutants = []mutant{
	{
		name: "sync-error-ignored", class: "W5", by: "wal", breaks: "a failed sync of the log counts as done",
		edits: []edit{{walLogGo, `if err := l.seg.file.Sync(); err != nil {`, `if err := l.seg.file.Sync(); err != nil && l.fenced != nil {`}},
	},
	{
		name: "sync-tried-again", class: "W5", by: "wal", breaks: "after a failed sync the next one may succeed",
		edits: []edit{{walLogGo, `	l.fenced = fmt.Errorf("%w: %w", ErrFenced, err)
	leaveFenceMarker(l.fs)
	return l.fenced`, `	leaveFenceMarker(l.fs)
	return fmt.Errorf("%w: %w", ErrFenced, err)`}},
	},
	{
		name: "fence-unmarked", class: "own", by: "wal", breaks: "a fence leaves no marker, so that the next start believes the page cache",
		edits: []edit{{walFenceGo, `	f, err := fs.Create(fenceMarker)
	if err != nil {
		return
	}`, `	f, err := fs.Open(fenceMarker)
	if err != nil {
		return
	}`}},
	},
	{
		name: "synced-through-too-high", class: "own", by: "wal", breaks: "a mark attests what is not synced",
		edits: []edit{{walLogGo, `bytes: h.bytes, synced: l.synced, runs`, `bytes: h.bytes, synced: l.end(), runs`}},
	},
	{
		name: "synced-through-too-low", class: "own", by: "wal", breaks: "a mark attests nothing",
		edits: []edit{{walLogGo, `bytes: h.bytes, synced: l.synced, runs`, `bytes: h.bytes, synced: place{1, firstOffset}, runs`}},
	},
	{
		name: "seal-unsynced-segment", class: "W7", by: "wal", breaks: "the next segment is begun before the last one is synced",
		edits: []edit{{walRotateGo, `	if err := l.Sync(); err != nil {
		return err
	}
	l.sealed = s.number`, `	l.synced = l.end()
	l.sealed = s.number`}},
	},
	{
		name: "segment-name-unsynced", class: "W7", by: "wal", breaks: "a new segment's name is not synced",
		edits: []edit{{walRotateGo, `if err := l.fs.SyncDir(walDir); err != nil {`, `if err := error(nil); err != nil {`}},
	},
	{
		name: "segment-unsynced", class: "W7", by: "wal", breaks: "a new segment gets its name before its content is synced",
		edits: []edit{{walSegmentGo, "	return f.Sync()\n", "	return nil\n"}},
	},
	{
		name: "rename-before-sync", class: "W7", by: "wal", breaks: "a small file is renamed before its content is synced",
		edits: []edit{{walIDGo, `	if err == nil {
		err = f.Sync()
	}
`, ``}},
	},
	{
		name: "rename-unsynced", class: "W7", by: "wal", breaks: "the rename of a small file is not synced",
		edits: []edit{{walIDGo, `	return fs.SyncDir(rootDir)
`, `	return nil
`}},
	},
	{
		name: "short-write-is-whole", class: "W6", by: "wal", breaks: "a short write counts as a whole one",
		edits: []edit{{walSegmentGo, `p, off = p[n:], off+int64(n)`, `p, off = nil, off+int64(n)`}},
	},
	{
		name: "first-index-unchecked", class: "own", by: "wal", breaks: "a group may leave a gap behind the log",
		edits: []edit{{walIndexGo, `if first < v.first || first > v.last+1 {`, `if first < v.first {`}},
	},
	{
		name: "term-order-unchecked", class: "own", by: "wal", breaks: "a group may begin with a lower term than the entry before",
		edits: []edit{{walIndexGo, `if before := v.termBefore(first); term < before {`, `if before := v.termBefore(first); term < before && first == 0 {`}},
	},
	{
		name: "superseded-stays", class: "R7", by: "wal", breaks: "what a group supersedes stays in the index",
		edits: []edit{{walIndexGo, `	if superseding {
		v.cut(first)
	}
`, ``}},
	},
	{
		name: "vote-one-slot", class: "own", by: "wal", breaks: "the second vote slot is never written",
		edits: []edit{{walVoteGo, "	for _, i := range [2]int{first, 1 - first} {", "	for _, i := range [1]int{first} {"}},
	},
	{
		name: "vote-unsynced", class: "R3", by: "sim", breaks: "the vote file is not synced",
		edits: []edit{{walVoteGo, "			err = v.file.Sync()\n", "			err = nil\n"}},
	},
	{
		name: "vote-synced-once", class: "own", by: "wal", breaks: "both vote slots are written before either is synced",
		edits: []edit{{walVoteGo, "		if err == nil {\n			err = v.file.Sync()", "		if err == nil && i == 1 {\n			err = v.file.Sync()"}},
	},
	{
		name: "vote-without-place", class: "W8", by: "wal", breaks: "a vote slot that was written to the wrong place is valid",
		edits: []edit{{walVoteGo, ` || le.Uint32(b[12:]) != uint32(number) {`, ` {`}},
	},
	{
		name: "lower-term-refused", class: "R6", by: "wal", breaks: "an entry of an older term cannot take the place of one of a newer",
		edits: []edit{{walIndexGo, `if v.runs[i].First < index {`, `if v.runs[i].First <= index {`}},
	},
	{
		name: "superseded-term-stays", class: "R7", by: "wal", breaks: "the term of what is superseded at the first index stays in the index",
		edits: []edit{{walIndexGo, `for n > 0 && v.runs[n-1].First >= first {`, `for n > 0 && v.runs[n-1].First > first {`}},
	},
	{
		name: "fill-whole-pieces", class: "W9", by: "wal", breaks: "a segment ends with the last whole piece of zeros",
		edits: []edit{{walSegmentGo, `off < opt.SegmentBytes; {`, `off+int64(len(zeros)) <= opt.SegmentBytes; {`}},
	},
	{
		name: "seal-without-room", class: "W9", by: "wal", breaks: "no room is kept for what the last group adds to the seal's index",
		edits: []edit{{walLogGo, `sealBytes(len(l.seg.points)+1, `, `sealBytes(len(l.seg.points), `}},
	},
	{
		name: "seal-before-sync", class: "own", by: "wal", breaks: "an idle seal is written before what it shall attest is synced",
		edits: []edit{{walRotateGo, `	if err := l.Sync(); err != nil {
		return err
	}
	if !l.attested {`, `	if !l.attested {`}},
	},
	{
		name: "seal-attests-itself", class: "own", by: "wal", breaks: "a seal attests groups that are synced only after it",
		edits: []edit{{walRotateGo, `l.sequence, l.synced, l.live.last`, `l.sequence, l.end(), l.live.last`}},
	},
	{
		name: "segment-size-by-option", class: "W9", by: "wal", breaks: "a segment that was prepared with another size is filled to the present one",
		edits: []edit{{walRotateGo, `	l.begin(next, f, size)
`, `	l.begin(next, f, max(min(size, 0), l.opt.SegmentBytes))
`}},
	},
	{
		name: "seal-before-successor", class: "W6", by: "wal", breaks: "a segment is sealed before it is known that the next one can be opened",
		edits: []edit{{walRotateGo, `	f, err := l.fs.Open(segmentName(next))
	if err != nil {
		return l.writeFailed(err)
	}
	if err := l.sealSegment(next); err != nil {
		return errors.Join(err, f.Close())
	}
`, `	if err := l.sealSegment(next); err != nil {
		return err
	}
	f, err := l.fs.Open(segmentName(next))
	if err != nil {
		return l.writeFailed(err)
	}
`}},
	},
	{
		name: "older-configs-misplaced", class: "M2", by: "disk", breaks: "after a restart an older configuration has the index of the one that replaced it",
		edits: []edit{{diskGo, `replica.ConfigAt{Index: st.MembersIndex, Members: st.Members}`, `replica.ConfigAt{Index: c.Index, Members: st.Members}`}},
	},
	{
		name: "late-segment-adopted", class: "W4", by: "wal", breaks: "a segment that was prepared too late takes the place of the one in use",
		edits: []edit{{walRotateGo, `if n, ok := l.NeedsSegment(); ok && number == n {`, `if _, ok := l.NeedsSegment(); ok {`}},
	},
	{
		name: "vote-version-stands", class: "own", by: "wal", breaks: "every vote is saved under the same version",
		edits: []edit{{walVoteGo, `	v.version = version
	return nil`, `	return nil`}},
	},
	{
		name: "vote-cache-trusted", class: "W5", by: "wal", breaks: "a start does not write the vote again that the page cache shows",
		edits: []edit{{walVoteGo, `err = v.write(v.version, st.Vote, worse)`, `_, v.fenced = worse, nil`}},
	},
	{
		name: "close-error-forgotten", class: "W5", by: "wal", breaks: "a log that cannot be synced at the end is closed as if it were",
		edits: []edit{{walRotateGo, `		if Passes(err) {
			err = nil //`, `		if err != nil {
			err = nil //`}},
	},
	{
		name: "entries-before-vote", class: "R2", by: "disk", breaks: "entries that wait before a vote are not written",
		edits: []edit{{diskGo, `		appended = true
`, `		appended = i == len(batches)-1
`}},
	},
	{
		name: "seal-not-repeated", class: "W6", by: "disk", breaks: "a seal that found no room is not tried again",
		edits: []edit{{diskGo, `	case wal.Passes(err):
		d.idle = false
`, `	case wal.Passes(err):
`}},
	},
	{
		name: "seal-error-forgotten", class: "W5", by: "disk", breaks: "a failed seal is not told to anybody",
		edits: []edit{{diskGo, `		d.failed = fmt.Errorf("cannot seal log: %w", err)`, `		d.idle = true`}},
	},
}

// recoveryMutants break what recovery believes.
var recoveryMutants = []mutant{
	{
		name: "damage-is-cut", class: "W2", by: "wal", breaks: "damaged records that were durable are cut like a torn tail",
		edits: []edit{{walSettleGo, `if r.log.end().less(r.attested) {`, `if r.log.end().less(r.attested) && r.dry {`}},
	},
	{
		name: "zeros-are-the-end", class: "W3", by: "wal", breaks: "zeros end the log without a look at what follows",
		edits: []edit{{walSettleGo, `	r.attest(beyond.synced)
`, `	if end.kind != foundEnd {
		r.attest(beyond.synced)
	}
`}},
	},
	{
		name: "spares-not-asked", class: "W2", by: "wal", breaks: "what the next segments attest is not looked at",
		edits: []edit{{walSettleGo, `for i := active + 1; i < len(r.numbers); i++ {`, `for i := active + 1; i < active; i++ {`}},
	},
	{
		name: "identity-not-asked", class: "W2", by: "wal", breaks: "the last sealed segment that the identity file names attests nothing",
		edits: []edit{
			{walSettleGo, `if sealed := r.log.recorded; sealed > 0 {`, `if sealed := r.log.recorded; sealed > 0 && r.dry {`},
			{walRecoverGo, `if sealed := r.log.recorded; sealed > 0 && want <= sealed+1 {`, `if sealed := r.log.recorded; sealed > 0 && want == 0 {`},
		},
	},
	{
		name: "missing-segment-skipped", class: "W2", by: "wal", breaks: "a log with a segment missing is opened",
		edits: []edit{{walRecoverGo, `		if n != want {
			return`, `		if n < want {
			return`}},
	},
	{
		name: "chain-unchecked", class: "own", by: "wal", breaks: "a mark's chain is not compared",
		edits: []edit{{walScanGo, `	case m.chain != chain:
		rec.fail("a group's chained checksum does not match", nil)
`, ``}},
	},
	{
		name: "previous-unchecked", class: "own", by: "wal", breaks: "a group need not follow on the record before it",
		edits: []edit{{walScanGo, `	if h.prev != s.chain {
		rec.fail("a group does not follow on the record before it", nil)
		return nil
	}
`, ``}},
	},
	{
		name: "chain-off", class: "own", by: "wal", breaks: "marks have no chain at all: neither end of it is compared",
		edits: []edit{
			{walScanGo, `	case m.chain != chain:
		rec.fail("a group's chained checksum does not match", nil)
`, ``},
			{walScanGo, `	if h.prev != s.chain {
		rec.fail("a group does not follow on the record before it", nil)
		return nil
	}
`, ``},
		},
	},
	{
		name: "sequence-unchecked", class: "own", by: "wal", breaks: "groups may be missing between two others",
		edits: []edit{{walRecoverGo, `if rec.group.sequence != l.sequence+1 {`, `if rec.group.sequence <= l.sequence {`}},
	},
	{
		name: "place-not-in-checksum", class: "W4", by: "wal", breaks: "a record at another offset of its segment is valid",
		edits: []edit{{walFormatGo, `	return ^crc
`, `	return ^crc&0 | seed
`}},
	},
	{
		name: "foreign-segment-taken", class: "W8", by: "wal", breaks: "a segment of another replica is accepted",
		edits: []edit{{walRecoverGo, `if err == nil && h.owner != r.log.opt.Owner {`, `if err == nil && h.owner != r.log.opt.Owner && r.dry {`}},
	},
	{
		name: "recycled-segment-taken", class: "W4", by: "wal", breaks: "a segment under another one's name is accepted",
		edits: []edit{{walRecoverGo, `	case h.number != number:
		reason = fmt.Sprintf("it says that it is segment %d", h.number)
`, ``}},
	},
	{
		name: "size-unchecked", class: "W9", by: "wal", breaks: "a segment that was cut short is accepted",
		edits: []edit{{walRecoverGo, `case h.size != size:`, `case h.size < size:`}},
	},
	{
		name: "page-cache-trusted", class: "own", by: "wal", breaks: "recovery does not write the unattested tail again",
		edits: []edit{{walSettleGo, `if err := r.rewrite(l.seg.file, r.tailFrom(l.seg.number), l.seg.offset); err != nil {`, `if err := r.rewrite(l.seg.file, l.seg.offset, l.seg.offset); err != nil {`}},
	},
	{
		name: "rewrite-unsynced", class: "W1", by: "wal", breaks: "recovery publishes its tail before it is synced",
		edits: []edit{{walSettleGo, `	if err := l.seg.file.Sync(); err != nil {
		leaveFenceMarker(l.fs)
		return err
	}
`, ``}},
	},
	{
		name: "cut-not-zeroed", class: "W1", by: "wal", breaks: "the torn tail stays in the file",
		edits: []edit{{walSettleGo, `if err := writeZeros(l.seg.file, c.Offset, c.Bytes); err != nil {`, `if err := writeZeros(l.seg.file, c.Offset, 0); err != nil {`}},
	},
	{
		name: "cut-first-page", class: "W1", by: "wal", breaks: "only the first page of the torn tail is cut",
		edits: []edit{{walSettleGo, `writeZeros(l.seg.file, c.Offset, c.Bytes)`, `writeZeros(l.seg.file, c.Offset, min(c.Bytes, 4096))`}},
	},
	{
		name: "unreadable-is-torn", class: "W2", by: "wal", breaks: "a read that fails in an entry counts as a torn tail",
		edits: []edit{{walScanGo, `	if isUnreadable(err) {
		return err
	}
	r.fail(reason, err)`, `	r.fail(reason, err)`}},
	},
	{
		name: "fence-not-believed", class: "own", by: "wal", breaks: "after a fence the log is read through the page cache",
		edits: []edit{{walRecoverGo, `	if r.out.Fenced {
		if err := dropCache(f); err != nil {`, `	if r.out.Fenced && r.dry {
		if err := dropCache(f); err != nil {`}},
	},
	{
		name: "lost-votes-are-fresh", class: "M5", by: "wal", breaks: "a log without its vote file starts as if it had never voted",
		edits: []edit{{walVoteGo, `used, err := logExists(v.fs)`, `_, err := logExists(v.fs)
	used := false`}},
	},
	{
		name: "lost-votes-not-noted", class: "M5", by: "wal", breaks: "the new vote file does not say that the old one was lost",
		edits: []edit{{walVoteGo, `&slot{version: 1, vote: st.Vote, owner: v.owner}`, `&slot{version: 1, owner: v.owner}`}},
	},
	{
		name: "old-slot-believed", class: "own", by: "wal", breaks: "vote slots that lie versions apart are believed",
		edits: []edit{{walVoteGo, `a.version == b.version+1`, `a.version > b.version`}},
	},
	{
		name: "misfit-slots-believed", class: "own", by: "wal", breaks: "vote slots that do not fit each other are believed",
		edits: []edit{{walVoteGo, `(!valid[0] || a != b)`, `!valid[0]`}},
	},
	{
		name: "first-slot-believed", class: "own", by: "wal", breaks: "the first vote slot is believed though the second is newer",
		edits: []edit{{walVoteGo, `case valid[0] && (!valid[1] || a.version > b.version):`, `case valid[0]:`}},
	},
	{
		name: "damaged-slot-abstains", class: "own", by: "wal", breaks: "a node with one damaged vote slot abstains",
		edits: []edit{{walVoteGo, `if !st.Mended && !ahead`, `if st.Mended || !ahead`}},
	},
	{
		name: "better-slot-first", class: "own", by: "wal", breaks: "a start writes over the good vote slot before it mends the other",
		edits: []edit{{walVoteGo, `worse = 1`, `worse = 0`}},
	},
	{
		name: "worse-slot-always-second", class: "own", by: "wal", breaks: "a start writes over the second vote slot first though the first may be in the page cache alone",
		edits: []edit{{walVoteGo, `if !ahead {
			worse = 1`, `if true {
			worse = 1`}},
	},
	{
		name: "tie-to-first-slot", class: "own", by: "wal", breaks: "of two vote slots of one version that differ the first is believed",
		edits: []edit{{walVoteGo, `a.version > b.version)`, `a.version >= b.version)`}},
	},
	{
		name: "superseded-config-stays", class: "M2", by: "wal", breaks: "a superseded configuration is reported, unless the group that supersedes holds another",
		edits: []edit{{walRecoverGo, `for len(c) > 0 && c[len(c)-1].Index >= first {`, `for len(r.pending) > 0 && len(c) > 0 && c[len(c)-1].Index >= first {`}},
	},
	{
		name: "numbers-not-asked", class: "W2", by: "wal", breaks: "that more segments are there than are prepared attests nothing",
		edits: []edit{{walSettleGo, `if n := len(r.numbers); n > spareSegments {`, `if n := len(r.numbers); n > spareSegments && r.dry {`}},
	},
	{
		name: "last-group-half-asked", class: "W2", by: "wal", breaks: "what attests the beginning of the last group counts for the whole of it",
		edits: []edit{{walRecoverGo, `r.lastGroup = place{at.segment, rec.offset + rec.size}`, `r.lastGroup = place{at.segment, rec.offset}`}},
	},
	{
		name: "sealed-tail-trusted", class: "W1", by: "wal", breaks: "recovery does not write the end of a sealed segment again",
		edits: []edit{{walSettleGo, `if r.numbers[i] >= r.attested.segment {`, `if r.numbers[i] > r.attested.segment {`}},
	},
	{
		name: "fence-unread", class: "W5", by: "wal", breaks: "a fence marker that cannot be read counts as none",
		edits: []edit{{walFenceGo, `		return false, err
	}
	return true, f.Close()`, `		return false, nil
	}
	return true, f.Close()`}},
	},
	{
		name: "small-mark-not-asked", class: "W2", by: "wal", breaks: "the mark of a group of one small entry attests nothing",
		edits: []edit{{walScanGo, `count <= bytes/wire.EntryHeaderBytes`, `count < bytes/wire.EntryHeaderBytes`}},
	},
	{
		name: "large-mark-not-asked", class: "W2", by: "wal", breaks: "the mark of a group that fills half of what is written attests nothing",
		edits: []edit{{walScanGo, `bytes < off &&`, `bytes < off/2 &&`}},
	},
	{
		name: "log-unlisted-is-none", class: "M5", by: "wal", breaks: "votes are fresh if it cannot be told whether there is a log",
		edits: []edit{{"wal/store.go", `	if errors.Is(err, ErrNotExist) {
		return false, nil`, `	if err != nil {
		return false, nil`}},
	},
}
