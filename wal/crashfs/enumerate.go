package crashfs

import (
	"bytes"
	"iter"
	"math/bits"
	"slices"
)

// Images yields every image that a power cut at this moment can leave, if there
// are no more than most, and otherwise most of them, drawn by the seed: first
// the one that keeps nothing unsynced and the one that keeps everything. It
// decides sector by sector, size by size and name by name, as Crash does. The
// FS must not change meanwhile.
func (s *FS) Images(most int, seed uint64) iter.Seq[*FS] {
	return func(yield func(*FS) bool) {
		m := s.moment()
		if n := m.count(); n <= uint64(most) {
			for c := (chooser{}); ; {
				if !yield(m.image(&c)) || !c.next() {
					return
				}
			}
		}
		r := random(seed)
		for i := range most {
			c := chooser{drawn: true, random: random(r.next()), share: uint64(i)}
			if i > 1 {
				c.share = 2 + r.next()%5
			}
			if !yield(m.image(&c)) {
				return
			}
		}
	}
}

// Outcomes returns how many images a power cut at this moment can leave, the
// largest number if they are too many to count.
func (s *FS) Outcomes() uint64 {
	m := s.moment()
	return m.count()
}

// chooser answers, for one image, what becomes of each thing that is undecided:
// by a walk through all answers, or drawn.
type chooser struct {
	path []branch
	at   int

	drawn  bool
	random random
	share  uint64 // 0: the first answer to all, 1: the last, else the last so many times in eight
}

type branch struct{ pick, of int }

// pick returns one of n answers. The first keeps nothing, the last is newest.
func (c *chooser) pick(n int) int {
	if n < 2 {
		return 0
	}
	if c.drawn {
		return c.draw(n)
	}
	if c.at == len(c.path) {
		c.path = append(c.path, branch{of: n})
	}
	c.at++
	return c.path[c.at-1].pick
}

func (c *chooser) draw(n int) int {
	h := c.random.next()
	switch {
	case c.share == 0:
		return 0
	case c.share == 1 || h%8 < c.share:
		return n - 1
	case h%8 == 7:
		return int(h>>8) % n
	}
	return 0
}

// next goes on to the answers of the next image. It is false after the last.
func (c *chooser) next() bool {
	c.at = 0
	for n := len(c.path); n > 0; n-- {
		if b := &c.path[n-1]; b.pick+1 < b.of {
			b.pick++
			c.path = c.path[:n]
			return true
		}
	}
	return false
}

// moment is what is undecided about a file system.
type moment struct {
	fs    *FS
	files []undecided // of every file that can have a name, by identity of its inode
}

// undecided is what a power cut decides about one file.
type undecided struct {
	ino   *inode
	sizes []int64
	bases []base // what stands where the file grew and nothing was kept: zeros, garbage
}

// base is what stands in the sectors that were written since the last sync.
type base struct {
	content []byte
	sectors []versions
}

// versions are the different contents that one sector may have, oldest first.
type versions struct {
	off     int64
	content [][]byte
}

func (s *FS) moment() moment {
	m := moment{fs: s}
	note := func(n *inode) {
		if n != nil && !slices.ContainsFunc(m.files, func(u undecided) bool { return u.ino == n }) {
			m.files = append(m.files, n.undecided())
		}
	}
	for _, e := range s.durable {
		note(e.ino)
	}
	for _, o := range s.pending {
		note(o.ino)
	}
	return m
}

func (n *inode) undecided() undecided {
	u := undecided{ino: n, sizes: []int64{int64(len(n.dur))}}
	for _, w := range n.ops {
		if end := w.end(); end > u.sizes[len(u.sizes)-1] {
			u.sizes = append(u.sizes, end)
		}
	}
	full := (u.sizes[len(u.sizes)-1] + SectorBytes - 1) / SectorBytes * SectorBytes
	zeros := grown(slices.Clone(n.dur), int(full))
	u.bases = append(u.bases, n.base(zeros))
	if len(u.sizes) > 1 {
		garbage := slices.Clone(zeros)
		r := random(n.id)
		for i := (len(n.dur) + SectorBytes - 1) / SectorBytes * SectorBytes; i < len(garbage); i++ {
			garbage[i] = byte(r.next()) | 1
		}
		u.bases = append(u.bases, n.base(garbage))
	}
	return u
}

// base applies the unsynced writes to content, which is whole sectors.
func (n *inode) base(content []byte) base {
	b := base{content: content}
	for off := int64(0); off < int64(len(content)); off += SectorBytes {
		end := off + SectorBytes
		v := versions{off: off, content: [][]byte{content[off:end]}}
		now := v.content[0]
		for _, w := range n.ops {
			if w.off >= end || w.end() <= off {
				continue
			}
			from, to := max(w.off, off), min(w.end(), end)
			now = slices.Clone(now)
			copy(now[from-off:], n.log[w.start+int(from-w.off):w.start+int(to-w.off)])
			if !slices.ContainsFunc(v.content, func(c []byte) bool { return bytes.Equal(c, now) }) {
				v.content = append(v.content, now)
			}
		}
		if len(v.content) > 1 {
			b.sectors = append(b.sectors, v)
		}
	}
	return b
}

// crash returns the file as c decides.
func (u *undecided) crash(c *chooser) *inode {
	i := c.pick(len(u.sizes))
	size, b := u.sizes[i], u.bases[0]
	if i > 0 {
		b = u.bases[c.pick(len(u.bases))]
	}
	cur := slices.Clone(b.content)
	for _, v := range b.sectors {
		if v.off < size {
			copy(cur[v.off:], v.content[c.pick(len(v.content))])
		}
	}
	cur = cur[:size]
	return &inode{id: u.ino.id, isDir: u.ino.isDir, cur: cur, dur: slices.Clone(cur)}
}

// names returns the names that c keeps.
func (m *moment) names(c *chooser) names {
	out := slices.Clone(m.fs.durable)
	for _, o := range m.fs.pending {
		if c.pick(2) == 1 {
			o.apply(&out)
		}
	}
	return reachable(out)
}

func (m *moment) file(n *inode) *undecided {
	i := slices.IndexFunc(m.files, func(u undecided) bool { return u.ino == n })
	return &m.files[i]
}

func (m *moment) image(c *chooser) *FS {
	img := &FS{nextID: m.fs.nextID, names: m.names(c)}
	for i, e := range img.names {
		img.names[i].ino = m.file(e.ino).crash(c)
	}
	img.settle()
	return img
}

// count returns how many images there are, or the largest number.
func (m *moment) count() uint64 {
	if len(m.fs.pending) > 10 {
		return ^uint64(0)
	}
	total := uint64(0)
	for c := (chooser{}); ; {
		n := uint64(1)
		for _, e := range m.names(&c) {
			n = times(n, m.file(e.ino).count())
		}
		total = plus(total, n)
		if !c.next() {
			return total
		}
	}
}

func (u *undecided) count() uint64 {
	total := uint64(0)
	for i, size := range u.sizes {
		for _, b := range u.bases[:min(i+1, len(u.bases))] {
			n := uint64(1)
			for _, v := range b.sectors {
				if v.off < size {
					n = times(n, uint64(len(v.content)))
				}
			}
			total = plus(total, n)
		}
	}
	return total
}

func times(a, b uint64) uint64 {
	if hi, lo := bits.Mul64(a, b); hi == 0 {
		return lo
	}
	return ^uint64(0)
}

func plus(a, b uint64) uint64 {
	if sum, carry := bits.Add64(a, b, 0); carry == 0 {
		return sum
	}
	return ^uint64(0)
}
