package crashfs

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dnode-engine/dnode/wal"
)

// SectorBytes is the unit that a power cut keeps or loses whole.
const SectorBytes = 512

// Errors of the file system itself.
var (
	// ErrStopped is returned by everything after StopAt has struck.
	ErrStopped = errors.New("power is cut")
	// ErrClosed is returned by a closed file.
	ErrClosed = errors.New("file is closed")
	// ErrUnreadable is returned by a read of a sector that Spoil has struck.
	ErrUnreadable = errors.New("input/output error: unreadable sector")
)

// FS is the file system. Make it with New, Crash or Kill.
type FS struct {
	names   names // what List and Open see
	durable names // what a power cut leaves for certain
	pending []nameOp
	used    int64 // bytes of all named files
	nextID  uint64

	quota  int64 // zero: none
	lying  bool
	stopAt int // zero: never
	ops    int
	counts [opCount]int
	rules  []Rule
	stray  *stray // the next write to its file goes astray
	trace  func(Event)
}

var _ wal.FS = (*FS)(nil)

// inode is one file's content. It may have no name.
type inode struct {
	id    uint64
	cur   []byte // what readers see
	dur   []byte // what is on the disk
	log   []byte // bytes of the unsynced writes
	ops   []writeOp
	isDir bool

	syncs  int     // that had something to write
	floor  int64   // lowest offset that the last of them wrote
	bad    []int64 // sectors that cannot be read
	absent []absent
}

// writeOp is one unsynced write: log[start:start+n] at off.
type writeOp struct {
	off   int64
	start int
	n     int
	stray *stray // nil: it goes where it should
}

func (w writeOp) end() int64 { return w.off + int64(w.n) }

type nameEntry struct {
	name string
	ino  *inode
}

// names is a sorted list of paths.
type names []nameEntry

func (s names) find(name string) (int, bool) {
	return slices.BinarySearchFunc(s, name, func(e nameEntry, n string) int { return strings.Compare(e.name, n) })
}

func (s names) get(name string) *inode {
	if i, ok := s.find(name); ok {
		return s[i].ino
	}
	return nil
}

func (s *names) set(name string, ino *inode) {
	i, ok := s.find(name)
	if ok {
		(*s)[i].ino = ino
		return
	}
	*s = slices.Insert(*s, i, nameEntry{name, ino})
}

func (s *names) remove(name string) {
	if i, ok := s.find(name); ok {
		*s = slices.Delete(*s, i, i+1)
	}
}

// nameOp is one change of names that no SyncDir has made durable.
type nameOp struct {
	remove string // empty: nothing
	set    string // empty: nothing
	ino    *inode
}

func (o nameOp) dir() string {
	if o.set != "" {
		return dirOf(o.set)
	}
	return dirOf(o.remove)
}

func (o nameOp) apply(s *names) {
	if o.remove != "" {
		s.remove(o.remove)
	}
	if o.set != "" {
		s.set(o.set, o.ino)
	}
}

func dirOf(name string) string {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i]
	}
	return ""
}

// New returns an empty file system.
func New() *FS { return &FS{} }

func (s *FS) newInode() *inode {
	s.nextID++
	return &inode{id: s.nextID}
}

func (s *FS) change(o nameOp) {
	o.apply(&s.names)
	s.pending = append(s.pending, o)
}

func (s *FS) checkDir(dir string) error {
	if dir == "" {
		return nil
	}
	if ino := s.names.get(dir); ino == nil || !ino.isDir {
		return fmt.Errorf("%w: folder %s", wal.ErrNotExist, dir)
	}
	return nil
}

// Create makes or empties a file.
func (s *FS) Create(name string) (wal.File, error) {
	if err := s.step(OpCreate, name); err != nil {
		return nil, err
	}
	if err := s.checkDir(dirOf(name)); err != nil {
		return nil, err
	}
	// An existing file is replaced rather than emptied in place: the old
	// content stays on the disk until the folder is synced.
	if old := s.names.get(name); old != nil {
		s.used -= int64(len(old.cur))
	}
	ino := s.newInode()
	s.change(nameOp{set: name, ino: ino})
	return &file{fs: s, ino: ino, name: name}, nil
}

// Open opens an existing file.
func (s *FS) Open(name string) (wal.File, error) {
	if err := s.step(OpOpen, name); err != nil {
		return nil, err
	}
	ino := s.names.get(name)
	if ino == nil || ino.isDir {
		return nil, fmt.Errorf("%w: %s", wal.ErrNotExist, name)
	}
	return &file{fs: s, ino: ino, name: name}, nil
}

// Rename moves a file and replaces the target.
func (s *FS) Rename(from, to string) error {
	if err := s.step(OpRename, to); err != nil {
		return err
	}
	ino := s.names.get(from)
	if ino == nil || ino.isDir {
		return fmt.Errorf("%w: %s", wal.ErrNotExist, from)
	}
	if dirOf(from) != dirOf(to) {
		return fmt.Errorf("cannot rename %s to another folder: %s", from, to)
	}
	if old := s.names.get(to); old != nil {
		s.used -= int64(len(old.cur))
	}
	s.change(nameOp{remove: from, set: to, ino: ino})
	return nil
}

// Remove deletes a file.
func (s *FS) Remove(name string) error {
	if err := s.step(OpRemove, name); err != nil {
		return err
	}
	ino := s.names.get(name)
	if ino == nil || ino.isDir {
		return fmt.Errorf("%w: %s", wal.ErrNotExist, name)
	}
	s.used -= int64(len(ino.cur))
	s.change(nameOp{remove: name})
	return nil
}

// List returns the names in a folder, sorted.
func (s *FS) List(dir string) ([]string, error) {
	if err := s.step(OpList, dir); err != nil {
		return nil, err
	}
	if err := s.checkDir(dir); err != nil {
		return nil, err
	}
	var out []string
	for _, e := range s.names {
		if dirOf(e.name) == dir {
			out = append(out, e.name[strings.LastIndexByte(e.name, '/')+1:])
		}
	}
	return out, nil
}

// SyncDir makes the names in a folder durable. When it fails by rule, they
// stay as they are.
func (s *FS) SyncDir(dir string) error {
	if err := s.step(OpSyncDir, dir); err != nil {
		return err
	}
	if s.lying {
		return nil
	}
	kept := s.pending[:0]
	for _, o := range s.pending {
		if o.dir() == dir {
			o.apply(&s.durable)
		} else {
			kept = append(kept, o)
		}
	}
	clear(s.pending[len(kept):])
	s.pending = kept
	return nil
}

// MkdirAll makes a folder, and those above it.
func (s *FS) MkdirAll(dir string) error {
	if err := s.step(OpMkdir, dir); err != nil {
		return err
	}
	for i := 0; i <= len(dir); i++ {
		if i < len(dir) && dir[i] != '/' {
			continue
		}
		if s.names.get(dir[:i]) == nil {
			ino := s.newInode()
			ino.isDir = true
			s.change(nameOp{set: dir[:i], ino: ino})
		}
	}
	return nil
}

type file struct {
	fs     *FS
	ino    *inode
	name   string
	closed bool
}

var _ wal.CacheDropper = (*file)(nil)

func (f *file) step(op Op) error {
	if f.closed {
		return fmt.Errorf("%w: %s", ErrClosed, f.name)
	}
	return f.fs.step(op, f.name)
}

// ReadAt copies what readers see.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if err := f.step(OpRead); err != nil {
		return 0, err
	}
	if off >= int64(len(f.ino.cur)) {
		return 0, nil
	}
	if len(f.ino.bad) > 0 && f.ino.unreadable(off, int64(len(p))) {
		return 0, fmt.Errorf("%w: %s at offset %d", ErrUnreadable, f.name, off)
	}
	return copy(p, f.ino.cur[off:]), nil
}

// WriteAt changes what readers see, and notes the write.
func (f *file) WriteAt(p []byte, off int64) (int, error) {
	if f.closed {
		return 0, fmt.Errorf("%w: %s", ErrClosed, f.name)
	}
	limit, err := f.fs.stepWrite(f.name, len(p))
	p = p[:min(limit, len(p))]
	if grow := off + int64(len(p)) - int64(len(f.ino.cur)); grow > 0 && err == nil {
		if q := f.fs.quota; q > 0 && f.fs.used+grow > q {
			room := max(0, int64(len(p))-(f.fs.used+grow-q))
			p, err = p[:room], fmt.Errorf("%w: quota of %d bytes", wal.ErrNoSpace, q)
		}
	}
	if len(p) > 0 {
		f.fs.used += f.ino.write(p, off)
		f.fs.divert(f)
	}
	return len(p), err
}

// write returns by how much the file has grown.
func (n *inode) write(p []byte, off int64) int64 {
	before := len(n.cur)
	n.cur = grown(n.cur, int(off)+len(p))
	copy(n.cur[off:], p)
	n.ops = append(n.ops, writeOp{off: off, start: len(n.log), n: len(p)})
	n.log = append(n.log, p...)
	if len(n.bad) > 0 {
		n.heal(off, int64(len(p)))
	}
	return int64(len(n.cur) - before)
}

// grown returns b with at least n bytes, new ones zero.
func grown(b []byte, n int) []byte {
	if n <= len(b) {
		return b
	}
	if n > cap(b) {
		return append(make([]byte, 0, n), b...)[:n]
	}
	old := len(b)
	b = b[:n]
	clear(b[old:])
	return b
}

// Sync brings what was written to the disk.
func (f *file) Sync() error {
	if err := f.step(OpSync); err != nil {
		if !errors.Is(err, ErrStopped) && !errors.Is(err, ErrClosed) {
			f.ino.forget() // the pages are marked clean all the same
		}
		return err
	}
	if !f.fs.lying {
		f.ino.sync()
	}
	return nil
}

// sync writes back whole sectors.
func (n *inode) sync() {
	n.dur = grown(n.dur, len(n.cur))
	if len(n.ops) > 0 {
		n.syncs++
		n.floor = n.ops[0].off
	}
	for _, w := range n.ops {
		from, to := n.sectors(w)
		n.floor = min(n.floor, w.off)
		if w.stray != nil {
			n.goAstray(w)
			continue
		}
		copy(n.dur[from:to], n.cur[from:to])
	}
	n.forget()
}

// sectors returns which bytes of the file a write makes the disk write.
func (n *inode) sectors(w writeOp) (from, to int64) {
	return w.off / SectorBytes * SectorBytes, min((w.end()+SectorBytes-1)/SectorBytes*SectorBytes, int64(len(n.cur)))
}

// forget drops the notes of unsynced writes.
func (n *inode) forget() {
	n.ops = n.ops[:0]
	if n.log = n.log[:0]; cap(n.log) > 16<<10 {
		n.log = nil
	}
}

// DropCache makes readers see what is on the disk, with the unsynced writes
// that can still reach it.
func (f *file) DropCache() error {
	n := f.ino
	n.arrive(n.dur)
	n.cur = slices.Clone(n.dur)
	for _, w := range n.ops {
		n.cur = grown(n.cur, int(w.end()))
		copy(n.cur[w.off:], n.log[w.start:w.start+w.n])
	}
	return nil
}

// Size returns the size that readers see.
func (f *file) Size() (int64, error) {
	if f.closed {
		return 0, fmt.Errorf("%w: %s", ErrClosed, f.name)
	}
	return int64(len(f.ino.cur)), nil
}

// Close closes the handle. It syncs nothing.
func (f *file) Close() error {
	f.closed = true
	return nil
}
