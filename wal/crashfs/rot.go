package crashfs

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/dnode-engine/dnode/wal"
)

// SetBytes makes b the content of a file, durably: rot, or a repair by hand.
// The file and its folder are made if missing.
func (s *FS) SetBytes(name string, b []byte) {
	if dir := dirOf(name); dir != "" && s.names.get(dir) == nil {
		d := s.newInode()
		d.isDir = true
		s.names.set(dir, d)
		s.durable.set(dir, d)
	}
	ino := s.names.get(name)
	if ino == nil {
		ino = s.newInode()
		s.names.set(name, ino)
	}
	s.durable.set(name, ino)
	s.used += int64(len(b) - len(ino.cur))
	ino.cur, ino.dur = bytes.Clone(b), bytes.Clone(b)
	ino.forget()
}

// Flip changes bits of one byte of a file, on the disk and in the cache.
func (s *FS) Flip(name string, off int64, mask byte) error {
	ino := s.names.get(name)
	if ino == nil || off >= int64(len(ino.cur)) {
		return fmt.Errorf("%w: offset %d of %s", wal.ErrNotExist, off, name)
	}
	ino.cur[off] ^= mask
	if off < int64(len(ino.dur)) {
		ino.dur[off] ^= mask
	}
	return nil
}

// Spoil makes the sector at an offset of a file unreadable, through crashes too,
// until something is written to it.
func (s *FS) Spoil(name string, off int64) error {
	ino := s.names.get(name)
	if ino == nil || off >= int64(len(ino.cur)) {
		return fmt.Errorf("%w: offset %d of %s", wal.ErrNotExist, off, name)
	}
	ino.bad = append(ino.bad, off/SectorBytes)
	return nil
}

func (n *inode) unreadable(off, size int64) bool {
	end := min(off+size, int64(len(n.cur)))
	return slices.ContainsFunc(n.bad, func(sector int64) bool {
		return sector*SectorBytes < end && off < (sector+1)*SectorBytes
	})
}

func (n *inode) heal(off, size int64) {
	n.bad = slices.DeleteFunc(n.bad, func(sector int64) bool {
		return sector*SectorBytes < off+size && off < (sector+1)*SectorBytes
	})
}

// Floor returns the offset below which all that was ever written to a file had
// been synced before anything was written that the last sync brought to the disk:
// a file that is only appended to has something behind that speaks for it.
func (s *FS) Floor(name string) int64 {
	if ino := s.names.get(name); ino != nil {
		return ino.floor
	}
	return 0
}

// stray is what becomes of one write that the disk acknowledges.
type stray struct {
	name string // suffix of the name of the file that is written to
	to   *inode // where its first sector lands instead; nil: nowhere
	off  int64
}

// absent is a stretch that the disk acknowledged and does not hold.
type absent struct {
	from, to int64
	sync     int // which sync of the file that was
}

// Lose makes the next write to a file whose name ends in suffix never arrive,
// though it is synced.
func (s *FS) Lose(suffix string) { s.stray = &stray{name: suffix} }

// Misdirect is Lose, and the write's first sector lands at an offset of another
// file, or of the same one.
func (s *FS) Misdirect(suffix, to string, off int64) error {
	ino := s.names.get(to)
	if ino == nil || off/SectorBytes*SectorBytes+SectorBytes > int64(len(ino.dur)) {
		return fmt.Errorf("%w: offset %d of %s", wal.ErrNotExist, off, to)
	}
	s.stray = &stray{name: suffix, to: ino, off: off / SectorBytes * SectorBytes}
	return nil
}

// divert lets the write that was just made go astray, if it is to.
func (s *FS) divert(f *file) {
	if s.stray != nil && strings.HasSuffix(f.name, s.stray.name) {
		f.ino.ops[len(f.ino.ops)-1].stray, s.stray = s.stray, nil
	}
}

func (n *inode) goAstray(w writeOp) {
	from, to := n.sectors(w)
	n.absent = append(n.absent, absent{from, to, n.syncs})
	if t := w.stray.to; t != nil {
		copy(t.dur[w.stray.off:], n.cur[from:min(to, from+SectorBytes)])
	}
}

// arrive brings to dur, the file's bytes on the disk, what went astray in the
// last sync: see the package documentation.
func (n *inode) arrive(dur []byte) {
	for _, a := range n.absent {
		if a.sync == n.syncs {
			copy(dur[a.from:a.to], n.cur[a.from:a.to])
		}
	}
}
