package crashfs

import (
	"bytes"
	"slices"
)

// random is a splitmix64 generator.
type random uint64

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	return mix(uint64(*r))
}

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Crash returns what a power cut at this moment could leave, one possibility
// per seed. The FS itself is not changed; the image has no rules, quota or
// trace.
func (s *FS) Crash(seed uint64) *FS {
	r := random(seed)
	mode := r.next() % 8
	img := &FS{nextID: s.nextID}
	img.names = slices.Clone(s.durable)
	s.crashNames(&img.names, mode, r.next())
	img.names = reachable(img.names)
	garbage := r.next()%4 == 0
	for i, e := range img.names {
		pick := picker{mode: mode, seed: mix(seed ^ mix(e.ino.id)), ops: len(e.ino.ops)}
		img.names[i].ino = e.ino.crash(pick, garbage)
	}
	img.settle()
	return img
}

// settle makes what readers see the durable state.
func (s *FS) settle() {
	s.durable = slices.Clone(s.names)
	s.used = 0
	for _, e := range s.names {
		s.used += int64(len(e.ino.cur))
	}
}

// crashNames applies a share of the pending changes of names.
func (s *FS) crashNames(to *names, mode, seed uint64) {
	r := random(seed)
	n := uint64(len(s.pending))
	cut, subset := r.next()%(n+1), r.next()%2 == 0
	for i, o := range s.pending {
		keep := uint64(i) < cut
		if subset {
			keep = r.next()%2 == 0
		}
		if mode == 1 || mode != 0 && keep {
			o.apply(to)
		}
	}
}

// reachable drops the files whose folder is gone.
func reachable(in names) names {
	var out names
	for _, e := range in {
		dir := dirOf(e.name)
		if d := in.get(dir); dir == "" || d != nil && d.isDir {
			out = append(out, e)
		}
	}
	return out
}

// picker decides how many of a file's unsynced writes a part of it has seen.
type picker struct {
	mode, seed uint64
	ops        int
}

func (p picker) version(part uint64) int {
	switch {
	case p.mode == 0:
		return 0
	case p.mode == 1:
		return p.ops
	}
	h := mix(p.seed ^ mix(part+1))
	switch share := h % 8; {
	case share < p.mode: // modes 2 to 7: from few to most are kept
		return p.ops
	case share == 7:
		return int(h>>8) % (p.ops + 1)
	}
	return 0
}

// crash returns a file with the durable bytes and, per sector, some version
// of the unsynced ones.
func (n *inode) crash(p picker, garbage bool) *inode {
	out := &inode{
		id: n.id, isDir: n.isDir, cur: slices.Clone(n.dur),
		syncs: n.syncs, floor: n.floor, bad: slices.Clone(n.bad),
	}
	n.arrive(out.cur)
	size := int64(len(n.dur))
	for _, w := range n.ops[:p.version(^uint64(1))] {
		size = max(size, w.end())
	}
	out.cur = grown(out.cur, int(size))
	if garbage {
		r := random(p.seed)
		for i := len(n.dur); i < len(out.cur); i++ {
			out.cur[i] = byte(r.next())
		}
	}
	for i, w := range n.ops {
		for off := w.off; off < min(w.end(), size); {
			sector := off / SectorBytes
			end := min((sector+1)*SectorBytes, w.end(), size)
			if i < p.version(uint64(sector)) {
				copy(out.cur[off:end], n.log[w.start+int(off-w.off):])
			}
			off = end
		}
	}
	out.dur = slices.Clone(out.cur)
	return out
}

// Kill returns what kill -9 leaves at this moment: everything written, synced
// or not. What was not synced is still not on the disk.
func (s *FS) Kill() *FS {
	img := &FS{nextID: s.nextID, used: s.used, lying: s.lying}
	var from, to []*inode
	copied := func(n *inode) *inode {
		if n == nil {
			return nil
		}
		if i := slices.Index(from, n); i >= 0 {
			return to[i]
		}
		c := &inode{
			id: n.id, isDir: n.isDir, cur: slices.Clone(n.cur), dur: slices.Clone(n.dur),
			log: slices.Clone(n.log), ops: slices.Clone(n.ops),
			syncs: n.syncs, floor: n.floor, bad: slices.Clone(n.bad), absent: slices.Clone(n.absent),
		}
		for i := range c.ops {
			c.ops[i].stray = nil
		}
		from, to = append(from, n), append(to, c)
		return c
	}
	for _, e := range s.names {
		img.names = append(img.names, nameEntry{e.name, copied(e.ino)})
	}
	for _, e := range s.durable {
		img.durable = append(img.durable, nameEntry{e.name, copied(e.ino)})
	}
	for _, o := range s.pending {
		img.pending = append(img.pending, nameOp{o.remove, o.set, copied(o.ino)})
	}
	return img
}

// Bytes returns a copy of what readers of a file see, nil if it is missing.
func (s *FS) Bytes(name string) []byte {
	if ino := s.names.get(name); ino != nil && !ino.isDir {
		return bytes.Clone(ino.cur)
	}
	return nil
}
