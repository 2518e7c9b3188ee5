package wal_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/crashfs"
	"github.com/dnode-engine/dnode/wire"
)

// A valid folder, damaged in any number of ways, is taken as the format says:
// refused by name if anything that was attested is hurt, and otherwise opened
// with exactly the groups before the damage. The first byte chooses the folder
// and how often the recovery is cut off itself; eight bytes each are a damage.
func FuzzRecovery(f *testing.F) {
	folders := []*folder{
		newFolder(f, folderShape{segmentBytes: 4 << 10}),
		newFolder(f, folderShape{segmentBytes: 4 << 10, sealed: true}),
		newFolder(f, folderShape{segmentBytes: 4 << 10, spares: true, unsynced: true}),
		newFolder(f, folderShape{segmentBytes: 20 << 10, spares: true}),
	}
	for folder := range byte(4) {
		f.Add([]byte{folder})
		for kind := range byte(damages) {
			f.Add([]byte{folder + 16*kind, kind, 3, 20, 3, 1, 5, 9, 7, (kind + 5) % damages, 1, 3, 2, 2, 1, 40, 1})
			f.Add([]byte{folder + 4, damageToEnd, 14 + kind, 0, 0, 0, 0, 0, 0, damageFromStart, 18 + kind, 0, 0, 0, 0, 0, 0})
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) == 0 {
			return
		}
		w := folders[in[0]%4]
		d := damage{folder: w, fs: w.fs.Kill()}
		for p := in[1:]; len(p) >= 8; p = p[8:] {
			d.do([8]byte(p))
		}
		if cuts := int(in[0] / 4 % 4); cuts > 0 && !d.forged {
			w.interrupt(t, &d, cuts*7+int(in[0]/16))
		}
		w.takenAsSaid(t, d.fs, d.forged, uint64(in[0]))
	})
}

// interrupt stops the recovery at an operation and cuts the power there.
func (w *folder) interrupt(t *testing.T, d *damage, op int) {
	want := w.verdict(d.fs)
	img := d.fs.Kill()
	img.StopAt(op)
	_, _, _, _ = wal.OpenStore(img, w.opt) //nolint:dogsled // it is cut off somewhere
	img = img.Crash(uint64(op))
	if want.refused || want.count == 0 || w.voteChanged(d.fs) {
		return // the folder may have been left for another one, a new one too
	}
	s, rec, _, err := wal.OpenStore(img, w.opt)
	if err != nil {
		t.Fatalf("recovery cut off at operation %d: %v, want %d entries", op, err, len(want.m))
	}
	for _, m := range w.unsynced { // what was not acknowledged may go
		if len(m) == int(rec.Last) && len(m) <= len(want.m) && len(want.m) > len(w.unsynced[0]) {
			want.m = m
		}
	}
	expect(t, s.Log(), want.m)
}

// tellsOwner reports whether a folder says by itself that it is of this owner:
// in its identity, or without one in its first segment.
func tellsOwner(img *crashfs.FS, owner wire.ReplicaID) bool {
	if _, err := wal.LoadIdentity(img); err == nil {
		return true
	}
	first := img.Bytes("wal/00000001.seg")
	return bytes.Contains(first[:min(len(first), crashfs.SectorBytes)], owner[:])
}

// takenAsSaid opens a folder and compares what comes of it with the format. Of
// one with forged records only that it is taken the same way by all.
func (w *folder) takenAsSaid(t *testing.T, img *crashfs.FS, forged bool, seed uint64) {
	want := w.verdict(img)
	before := img.Kill()
	dry, dryErr := wal.Verify(img)
	said, shown := false, false
	must(t, wal.Inspect(img, func(r *wal.Record) error {
		if r.Kind == wal.KindVerdict {
			said = r.Corrupt
		} else {
			shown = shown || r.Corrupt
		}
		return nil
	}))
	s, rec, vote, err := wal.OpenStore(img, w.opt)
	if errors.Is(err, wal.ErrOwner) && !tellsOwner(img, w.opt.Owner) {
		return // only who brings the identity along can refuse it
	}
	if (dryErr == nil) != (err == nil) || said != (err != nil) || shown != said && !forged || err == nil && (dry.Last != rec.Last || (dry.Cut == nil) != (rec.Cut == nil)) {
		t.Fatalf("verify: %v, %s, inspect: %v, %v, open: %v, %s", dryErr, brief(dry), shown, said, err, brief(rec))
	}
	switch {
	case err != nil && (want.refused || forged):
		w.refusedByName(t, before, img, want, forged, err)
		return
	case err != nil || want.refused && !forged:
		t.Fatalf("opened: %v, %s, want refused %v, with %d entries; %s", err, brief(rec), want.refused, len(want.m), want.why)
	}
	got, err := readAll(s.Log(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if forged {
		want.m = nil
		want.m.append(got)
	} else {
		w.nothingElseCut(t, rec, got, want)
		w.voteAsSaid(t, before, vote)
	}
	w.again(t, img.Crash(seed), want.m, rec.Last)
	must(t, s.Close())
}

// refusedByName checks that a refusal has changed nothing and names the damage.
func (w *folder) refusedByName(t *testing.T, before, after *crashfs.FS, want verdict, forged bool, err error) {
	for _, name := range append(segmentNames(before), "identity") {
		if !bytes.Equal(before.Bytes(name), after.Bytes(name)) {
			t.Fatalf("refused, and %s was changed: %v", name, err)
		}
	}
	var c *wal.CorruptError
	switch {
	case forged && (errors.As(err, &c) || errors.Is(err, wal.ErrOwner) || w.voteFormat(before)):
	case forged:
		t.Fatalf("refused without a type: %v", err)
	case !errors.As(err, &c):
		t.Fatalf("refused without a type: %v", err)
	case bytes.Equal(before.Bytes(c.File), w.fs.Bytes(c.File)) && w.fs.Bytes(c.File) != nil:
		t.Fatalf("%s is blamed, which is whole: %v", c.File, err)
	case want.file != "" && (c.File != want.file || c.Offset != want.off):
		t.Fatalf("the damage is at offset %d of %s: %v", want.off, want.file, err)
	}
}

// nothingElseCut checks what was recovered, and what is said about the rest.
func (w *folder) nothingElseCut(t *testing.T, rec *wal.Recovered, got []byte, want verdict) {
	if !bytes.Equal(got, want.m.bytes()) || int(rec.Last) != len(want.m) {
		t.Fatalf("opened with %d entries, %d bytes, want %d, %d", rec.Last, len(got), len(want.m), len(want.m.bytes()))
	}
	cut := rec.Cut
	if (cut != nil) != want.dirty || cut != nil && (cut.File != want.file || cut.Offset != want.off) {
		t.Fatalf("cut %v, want %v at offset %d of %s", cut, want.dirty, want.off, want.file)
	}
	for i, r := range rec.Runs {
		if i > 0 && (r.First <= rec.Runs[i-1].First || r.Term <= rec.Runs[i-1].Term) || r.First > rec.Last {
			t.Fatalf("term runs %v", rec.Runs)
		}
	}
}

// again checks that after a power cut a recovered folder opens the same way,
// goes on, and keeps what it was given then.
func (w *folder) again(t *testing.T, img *crashfs.FS, m model, last wire.Index) {
	s, rec, _, err := wal.OpenStore(img, w.opt)
	if err != nil || rec.Last != last || rec.Cut != nil || len(m) != int(last) {
		t.Fatalf("second start: %v, %s, want %d entries", err, brief(rec), last)
	}
	expect(t, s.Log(), m)
	m = slices.Clone(m)
	b := entries(last+1, last+8, ^wire.Term(0), 700) // into the next segment
	m.append(b)
	must(t, s.Append(runs(b)))
	must(t, s.Sync())
	l, rec, err := wal.Open(img.Crash(uint64(last)), w.opt)
	if err != nil || int(rec.Last) != len(m) {
		t.Fatalf("third start: %v, %s, want %d entries", err, brief(rec), len(m))
	}
	expect(t, l, m)
}

// brief says what was recovered in a line.
func brief(rec *wal.Recovered) string {
	if rec == nil {
		return "nothing"
	}
	return fmt.Sprintf("entries to %d, cut: %v", rec.Last, rec.Cut)
}
