package wal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"path"
	"slices"
	"testing"

	"github.com/dnode-engine/dnode/wal/crashfs"
	"github.com/dnode-engine/dnode/wire"
)

// damages is how many kinds of damage there are. Two of them have names.
const (
	damages         = 14
	damageToEnd     = 11
	damageFromStart = 12
)

// damage does harm to a folder.
type damage struct {
	*folder
	fs     *crashfs.FS
	forged bool // checksums were made right again
}

// do does one damage: kind, file, sector or offset (2), how much, and three
// bytes more.
func (d *damage) do(p [8]byte) {
	const n = crashfs.SectorBytes
	files := append([]string{"vote", "identity"}, segmentNames(d.folder.fs)...)
	file := files[int(p[1])%len(files)]
	other := files[int(p[5])%len(files)]
	off := int(binary.LittleEndian.Uint16(p[2:]))
	b := d.fs.Bytes(file)
	size := max(len(b), 1)
	switch p[0] % damages {
	case 0: // flip bits
		for i := range int(p[4]%4) + 1 {
			d.flip(file, (off+i*int(p[6]))%size, p[5]|1<<(p[7]%8))
		}
	case 1: // zero sectors
		d.fill(file, off%(size/n+1)*n, int(p[4]%8)*n+n, nil)
	case 2: // a sector with the content of another
		d.fill(file, off%(size/n+1)*n, n, sector(d.folder.fs.Bytes(other), int(p[6])))
	case 3: // swap two sectors
		i, j := off%(size/n+1), int(p[6])
		x, y := sector(b, i), sector(d.fs.Bytes(other), j)
		d.fill(file, i*n, n, y)
		d.fill(other, j*n, n, x)
	case 4: // sectors of earlier: writes that never came
		old := d.was[int(p[5])%len(d.was)].Bytes(file)
		for i := range int(p[4]%16) + 1 {
			at := off%(size/n+1) + i
			d.fill(file, at*n, n, sector(old, at))
		}
	case 5: // another length
		d.set(file, slices.Concat(b, make([]byte, off))[:(off+int(p[4])<<4)%(size+off)])
	case 6:
		_ = errors.Join(d.fs.Remove(file), d.fs.SyncDir(path.Dir(file)), d.fs.SyncDir("")) // or it is missing already
	case 7: // another file's content
		d.set(file, d.folder.fs.Bytes(other))
	case 8: // files that do not belong there, or not to a whole log
		d.fs.SetBytes([]string{"fence", "wal/00000002.new", "wal/00000009.now", "wal/notes", "vote.tmp"}[p[4]%5], b)
	default:
		d.record(p, off)
	}
}

// record does damage to one record, so that the fuzzer need not find it.
func (d *damage) record(p [8]byte, off int) {
	r := d.records[int(p[1])%len(d.records)]
	file, from := segmentName(r.at.segment), int(r.at.off)
	switch p[0] % damages {
	case 9: // a byte of it
		d.flip(file, from+off%(r.to-from), p[5]|1)
	case 10: // a byte of what attests others
		d.flip(file, r.mark+off%(r.to-r.mark), p[5]|1)
	case damageToEnd: // all from here on, or from its middle
		d.fill(file, from+off%(r.to-from)&^7, len(d.fs.Bytes(file)), nil)
	case damageFromStart: // all before it, but for a part of the header
		d.fill(file, 64+off%(from-63), from, nil)
	case 13:
		d.forge(p, r, off)
	}
}

// forge changes a field and makes the checksums around it right.
func (d *damage) forge(p [8]byte, r written, off int) {
	d.forged = true
	file := segmentName(r.at.segment)
	if p[4]&1 == 1 {
		file = []string{"vote", "identity", file}[p[4]/2%3]
	}
	b := d.fs.Bytes(file)
	if len(b) < r.to && p[4]&1 == 0 || len(b) < slotBytes {
		return
	}
	value := binary.LittleEndian.AppendUint32(nil, uint32(int8(p[5]))<<(p[6]%32)+uint32(p[7]))
	seal := func(b []byte, from, to int, start uint32) {
		binary.LittleEndian.PutUint32(b[to:], crc32.Update(start, wire.Castagnoli, b[from:to]))
	}
	switch {
	case file == "vote":
		s := b
		if p[4]/8%2 == 1 && len(b) >= slotStride+slotBytes {
			s = b[slotStride:]
		}
		copy(s[8+off%60:68], value)
		seal(s, 0, 68, 0)
	case file == "identity":
		copy(b[8+off%(len(b)-12):len(b)-4], value)
		seal(b, 0, len(b)-4, 0)
	case p[4]&1 == 1:
		copy(b[8+off%52:60], value)
		seal(b, 0, 60, 0)
	default:
		start := crc32.Checksum(slices.Concat(binary.LittleEndian.AppendUint64(nil, r.at.segment), owner[:]), wire.Castagnoli)
		at := func(off int) uint32 {
			return crc32.Update(start, wire.Castagnoli, binary.LittleEndian.AppendUint64(nil, uint64(off)))
		}
		from := int(r.at.off)
		copy(b[from+4+off%(r.to-from-12):r.to-8], value)
		if r.mark > from {
			seal(b, from, from+44, at(from))
		}
		chain := crc32.Update(binary.LittleEndian.Uint32(b[from+4:]), wire.Castagnoli, b[from:r.to-8])
		binary.LittleEndian.PutUint32(b[r.to-8:], chain)
		seal(b, r.mark, r.to-4, at(r.mark))
	}
	d.fs.SetBytes(file, b)
}

// flip changes bits of a byte that is there.
func (d *damage) flip(file string, off int, mask byte) {
	if b := d.fs.Bytes(file); off < len(b) {
		b[off] ^= mask
		d.fs.SetBytes(file, b)
	}
}

// fill puts content, or zeros, at an offset of a file, within its length.
func (d *damage) fill(file string, off, n int, content []byte) {
	b := d.fs.Bytes(file)
	if b == nil || off >= len(b) {
		return
	}
	part := b[off:min(off+n, len(b))]
	clear(part)
	copy(part, content)
	d.fs.SetBytes(file, b)
}

// set replaces a file that is there.
func (d *damage) set(file string, b []byte) {
	if d.fs.Bytes(file) != nil {
		d.fs.SetBytes(file, b)
	}
}

// sector returns one sector of b, zeros where there is none.
func sector(b []byte, i int) []byte {
	const n = crashfs.SectorBytes
	if len(b) > 0 {
		i %= len(b)/n + 1
	}
	if i*n >= len(b) {
		return make([]byte, n)
	}
	return bytes.Clone(b[i*n : min(i*n+n, len(b))])
}

// Every sector of every file, the vote, the identity and prepared segments among
// them, zeroed, filled with garbage, or with what it held before, what its
// neighbour holds or the same place of another file; and two of these at once.
// Each is taken as the format says.
func TestEverySectorDamaged(t *testing.T) {
	const n = crashfs.SectorBytes
	pairs := 100
	if exhaustive() {
		pairs = 5000
	}
	r := rand.New(rand.NewPCG(1, 2))
	garbage := make([]byte, n)
	for i := range garbage {
		garbage[i] = byte(r.Uint32())
	}
	count := 0
	for _, shape := range []folderShape{
		{segmentBytes: 4 << 10},
		{segmentBytes: 4 << 10, sealed: true, spares: true},
		{segmentBytes: 4 << 10, spares: true, unsynced: true},
	} {
		w := newFolder(t, shape)
		files := append([]string{"vote", "identity"}, segmentNames(w.fs)...)
		harm := func(d *damage, kind int, file string, sec int) {
			content := [][]byte{
				nil,
				garbage,
				sector(w.fs.Bytes(file), sec+1),
				sector(w.was[sec%len(w.was)].Bytes(file), sec),
				sector(w.fs.Bytes(files[2+sec%(len(files)-2)]), sec),
			}[kind]
			d.fill(file, sec*n, n, content)
		}
		taken := func(d *damage) {
			w.takenAsSaid(t, d.fs, false, uint64(count))
			count++
		}
		for _, file := range files {
			for sec := range (len(w.fs.Bytes(file)) + n - 1) / n {
				for kind := range 5 {
					d := &damage{folder: w, fs: w.fs.Kill()}
					harm(d, kind, file, sec)
					taken(d)
				}
			}
		}
		for range pairs {
			d := &damage{folder: w, fs: w.fs.Kill()}
			for range 2 {
				harm(d, r.IntN(5), files[r.IntN(len(files))], r.IntN(8))
			}
			taken(d)
		}
	}
	t.Logf("%d folders", count)
}
