package wal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/crashfs"
	"github.com/dnode-engine/dnode/wire"
)

// spot is a place in the log.
type spot struct{ segment, off uint64 }

func (s spot) less(o spot) bool {
	return s.segment < o.segment || s.segment == o.segment && s.off < o.off
}

func spotAt(b []byte) spot {
	return spot{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
}

// written is one record of a folder, as doc.go draws it.
type written struct {
	at     spot
	to     int
	mark   int   // where the part begins that can be believed alone
	synced spot  // what it attests
	after  model // what the log holds with it
}

// folder is a valid data folder, what it held before, and what stands in it.
type folder struct {
	fs       *crashfs.FS
	opt      wal.Options
	was      []*crashfs.FS // after each step
	records  []written
	unsynced []model // what the log held since the last sync, oldest first
}

type folderShape struct {
	segmentBytes int64
	sealed       bool // closed as it should be
	spares       bool // segments are prepared ahead
	unsynced     bool // the last group was not synced
}

// newFolder writes a folder of three segments or more, with groups that
// supersede others, several groups under one sync, seals and votes.
func newFolder(t testing.TB, shape folderShape) *folder {
	t.Helper()
	w := &folder{fs: crashfs.New(), opt: wal.Options{SegmentBytes: shape.segmentBytes, Owner: owner}}
	must(t, wal.SaveIdentity(w.fs, wal.Identity{Replica: owner, Name: "n1"}))
	s, _, _, err := wal.OpenStore(w.fs, w.opt)
	must(t, err)
	step := func(sync bool, b ...[]byte) {
		t.Helper()
		for _, b := range b {
			must(t, s.Append(runs(b)))
		}
		if sync {
			must(t, s.Sync())
		}
		if n, ok := s.Log().NeedsSegment(); ok && shape.spares {
			must(t, wal.PrepareSegment(w.fs, w.opt, n))
			s.Log().SegmentReady(n)
		}
		w.was = append(w.was, w.fs.Kill())
	}
	size := int(shape.segmentBytes) / 40
	must(t, s.SaveVote(wire.Vote{Term: 1, For: 1}))
	step(true, entries(1, 3, 1, size))
	step(true, entries(4, 9, 1, 2*size))
	must(t, s.Seal())
	must(t, s.SaveVote(wire.Vote{Term: 2, For: 3}))
	step(true, entries(7, 12, 2, 2*size)) // supersedes
	step(true, entries(13, 14, 2, size), entries(15, 15, 2, size), entries(16, 20, 2, 2*size))
	step(true, entries(10, 21, 3, 3*size))
	must(t, s.Seal())
	for i := wire.Index(14); i < 18; i++ {
		step(true, entry(i, 4, size/2))
	}
	must(t, s.SaveVote(wire.Vote{Term: 4}))
	step(true, entries(18, 19, 4, 4*size))
	step(!shape.unsynced, entry(20, 4, size), entries(21, 22, 5, 4*size))
	if shape.sealed {
		must(t, s.Close())
	}
	w.was = append(w.was, w.fs.Kill())
	w.read(t)
	for _, r := range w.records {
		if shape.unsynced && len(r.after) >= 19 && r.at.segment >= 3 {
			w.unsynced = append(w.unsynced, r.after)
		}
	}
	return w
}

// read takes the records from the segments.
func (w *folder) read(t testing.TB) {
	le := binary.LittleEndian
	var m model
	for i, name := range segmentNames(w.fs) {
		b := w.fs.Bytes(name)
		for off := 512; off < len(b) && b[off] != 0; {
			r := written{at: spot{uint64(i + 1), uint64(off)}, mark: off}
			switch rec := b[off:]; rec[0] {
			case 1:
				n := int(le.Uint32(rec[32:]))
				r.mark = off + 48 + (n+7)&^7
				r.to = r.mark + 56 + 16*int(le.Uint32(rec[36:]))
				r.synced = spotAt(b[r.mark+32:])
				m = slices.Clone(m)
				m.append(rec[48 : 48+n])
			case 3:
				r.to = off + 80 + 16*int(le.Uint32(rec[56:])+le.Uint32(rec[60:]))
				r.synced = spotAt(rec[24:])
			default:
				t.Fatalf("record type %d at offset %d of %s", rec[0], off, name)
			}
			r.after = m
			w.records = append(w.records, r)
			off = r.to
		}
	}
	if n := len(w.records); n < 12 || w.records[n-1].at.segment < 3 {
		t.Fatalf("the folder has %d records, the last at %v", n, w.records[n-1].at)
	}
}

func segmentName(number uint64) string { return fmt.Sprintf("wal/%08d.seg", number) }

func segmentNames(fs *crashfs.FS) []string {
	names, _ := fs.List("wal") // empty if the folder is missing
	var out []string
	for _, n := range names {
		if strings.HasSuffix(n, ".seg") {
			out = append(out, "wal/"+n)
		}
	}
	return out
}

// whole reports whether b[from:to] of a segment is as it was written.
func (w *folder) whole(b []byte, segment uint64, from, to int) bool {
	return len(b) >= to && bytes.Equal(b[from:to], w.fs.Bytes(segmentName(segment))[from:to])
}

// verdict is what the format says must come of a damaged folder.
type verdict struct {
	refused bool
	why     string
	count   int    // segments
	m       model  // what is left, unless it is refused
	file    string // where what is left ends
	off     int64
	dirty   bool // something stands there
}

// verdict applies doc.go, "Recovery", to what is left of the folder, knowing
// what was there.
func (w *folder) verdict(img *crashfs.FS) verdict {
	id, err := wal.LoadIdentity(img)
	if err != nil && !errors.Is(err, wal.ErrNotExist) {
		return verdict{refused: true, why: "identity"}
	}
	names := segmentNames(img)
	content := make([][]byte, len(names))
	for i, name := range names {
		content[i] = img.Bytes(name)
		pristine := w.fs.Bytes(name)
		if name != segmentName(uint64(i+1)) || len(content[i]) != len(pristine) || !bytes.Equal(content[i][:64], pristine[:64]) {
			return verdict{refused: true, why: "files"}
		}
	}
	v := verdict{count: len(names)}
	if id.LastSealed > 0 && uint64(v.count) <= id.LastSealed {
		return verdict{refused: true, why: "files missing"}
	}
	if v.count == 0 {
		return v
	}
	end := w.end(content, &v)
	if end.segment > uint64(v.count) {
		return verdict{refused: true, why: "successor missing"}
	}
	attested := spot{}
	if id.LastSealed > 0 {
		attested = spot{id.LastSealed + 1, 512}
	}
	if prepared := uint64(v.count) - 2; v.count > 2 && attested.less(spot{prepared, 512}) {
		attested = spot{prepared, 512} // it was in use when the last was prepared
	}
	for _, r := range w.records {
		if r.at.segment <= uint64(v.count) && attested.less(r.synced) && w.whole(content[r.at.segment-1], r.at.segment, r.mark, r.to) {
			attested = r.synced
		}
	}
	v.file, v.off = segmentName(end.segment), int64(end.off)
	v.dirty = len(bytes.Trim(content[end.segment-1][end.off:], "\x00")) > 0
	if end.less(attested) {
		v.refused, v.why = true, fmt.Sprintf("ends at %v, attested up to %v", end, attested)
	}
	return v
}

// end returns where the records end that are whole from the beginning on, and
// sets what the log holds there.
func (w *folder) end(content [][]byte, v *verdict) spot {
	for _, r := range w.records {
		if r.at.segment > uint64(len(content)) || !w.whole(content[r.at.segment-1], r.at.segment, int(r.at.off), r.to) {
			return r.at
		}
		v.m = r.after
	}
	last := w.records[len(w.records)-1]
	return spot{last.at.segment, uint64(last.to)}
}

const (
	slotBytes  = 72
	slotStride = 4096
)

// slots returns the vote file's slots, cut short ones as empty.
func slots(fs *crashfs.FS) (s [2]string) {
	b := fs.Bytes("vote")
	for i := range s {
		if len(b) >= i*slotStride+slotBytes {
			s[i] = string(b[i*slotStride:][:slotBytes])
		}
	}
	return s
}

// version returns that of a slot.
func version(slot string) uint64 { return binary.LittleEndian.Uint64([]byte(slot[16:])) }

// voteChanged reports whether anything is wrong with the vote file.
func (w *folder) voteChanged(img *crashfs.FS) bool {
	return slots(img) != slots(w.fs)
}

// voteAsSaid checks that a slot that is as it was is believed, unless the other one
// is old and does not fit it: then a write was lost. With both changed nothing can be
// asked: both may be old, or one old and one damaged.
func (w *folder) voteAsSaid(t *testing.T, before *crashfs.FS, got wal.VoteState) {
	s, pristine := slots(before), slots(w.fs)
	if len(segmentNames(before)) == 0 && before.Bytes("vote") == nil {
		if !got.Fresh || got.Abstain {
			t.Fatalf("vote %+v of an empty folder", got)
		}
		return
	}
	want := wire.Vote{Term: 4}
	for i := range s {
		if s[i] != pristine[i] {
			continue
		}
		other := s[1-i]
		old := slices.ContainsFunc(w.was, func(was *crashfs.FS) bool { return other == slots(was)[1-i] })
		want.Abstain = old && other != "" && other != pristine[1-i] && (i == 1 || version(other)+1 != version(s[0]))
		if got.Vote != want {
			t.Fatalf("vote %+v, slot %d says %+v", got, i, want)
		}
	}
	if got.Vote.Abstain != got.Abstain {
		t.Fatalf("vote %+v", got)
	}
}

// voteFormat reports whether a slot claims another format version: then the
// file is refused without its being damage.
func (w *folder) voteFormat(fs *crashfs.FS) bool {
	for _, s := range slots(fs) {
		if len(s) > 0 && s[8:12] != "\x01\x00\x00\x00" {
			return true
		}
	}
	return false
}

// Zeros from any record of one segment to its end, and from the beginning of a
// later one up to any record, as one zeroed stretch of the disk would leave
// them: what is behind still speaks for what is gone.
func TestZerosAcrossSegments(t *testing.T) {
	w := newFolder(t, folderShape{segmentBytes: 4 << 10})
	refused := 0
	for i, a := range w.records {
		for j, b := range w.records {
			if a.at.segment >= b.at.segment {
				continue
			}
			d := damage{folder: w, fs: w.fs.Kill()}
			d.do([8]byte{damageToEnd, byte(i)})
			d.do([8]byte{damageFromStart, byte(j)})
			if w.verdict(d.fs).refused {
				refused++
			}
			w.takenAsSaid(t, d.fs, false, 1)
		}
	}
	if refused < 100 {
		t.Errorf("only %d of the folders were to be refused", refused)
	}
}

// Zeros in place of every record from some segment on, whatever seals and marks
// they were: the number of segments alone says that more had been written.
func TestZerosToTheEnd(t *testing.T) {
	fs := crashfs.New()
	l, _ := mustOpen(t, fs, small)
	for i := wire.Index(1); i <= 6; i++ { // one to a segment
		must(t, l.Append(runs(entry(i, 1, 3000))))
	}
	must(t, l.Sync())
	for from := uint64(1); from <= 3; from++ {
		img := fs.Kill()
		for n := from; n <= 6; n++ {
			b := img.Bytes(segmentName(n))
			clear(b[crashfs.SectorBytes:])
			img.SetBytes(segmentName(n), b)
		}
		var c *wal.CorruptError
		if _, _, err := wal.Open(img, small); !errors.As(err, &c) || c.File != segmentName(from) {
			t.Errorf("no record from segment %d of 6 on: %v", from, err)
		}
	}
}
