package osfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/dnode-engine/dnode/wal"
)

const lockName = "LOCK"

// FS is an open data folder. Its methods may be called concurrently, as far as
// they touch different files.
type FS struct {
	dir      string
	lock     *os.File // nil: read-only folder without a LOCK file
	readOnly bool

	mu   sync.Mutex
	dirs map[string]*os.File // folders that were synced, by path: see folder
}

var _ wal.FS = (*FS)(nil)

// Open makes the folder if it is missing and takes its lock. The error wraps
// wal.ErrLocked if another process has it.
func Open(dir string) (*FS, error) {
	if err := makeDir(dir); err != nil {
		return nil, openError(dir, err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, openError(dir, err)
	}
	if err := flock(lock, syscall.LOCK_EX); err != nil {
		return nil, errors.Join(lockError(dir, err, "stop it first, or use another --data-dir"), lock.Close())
	}
	return &FS{dir: dir, lock: lock}, nil
}

// OpenReadOnly opens an existing folder for the offline tools. It refuses a
// folder that a process is writing to, and every change.
func OpenReadOnly(dir string) (*FS, error) {
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return nil, fmt.Errorf("cannot open data folder %s: %w: give the --data-dir of a node", dir, cmpOr(err, syscall.ENOTDIR))
	}
	lock, err := os.Open(filepath.Join(dir, lockName))
	if errors.Is(err, fs.ErrNotExist) {
		return &FS{dir: dir, readOnly: true}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open data folder %s: %w", dir, err)
	}
	if err := flock(lock, syscall.LOCK_SH); err != nil {
		return nil, errors.Join(lockError(dir, err, "stop the node first"), lock.Close())
	}
	return &FS{dir: dir, lock: lock, readOnly: true}, nil
}

// openError says what to do about a folder that cannot be used.
func openError(dir string, err error) error {
	err = mapError(err)
	switch {
	case errors.Is(err, syscall.EROFS):
		err = fmt.Errorf("%w: check the file system, mount it writable and start again", err)
	case errors.Is(err, fs.ErrPermission):
		err = fmt.Errorf("%w: give the folder to the user that runs dnode, or use another --data-dir", err)
	case errors.Is(err, syscall.ENOTDIR) || errors.Is(err, fs.ErrExist):
		err = fmt.Errorf("%w: use another --data-dir", err)
	}
	return fmt.Errorf("cannot open data folder %s: %w", dir, err)
}

func cmpOr(err, otherwise error) error {
	if err != nil {
		return mapError(err)
	}
	return otherwise
}

func lockError(dir string, err error, next string) error {
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("%w: %s", wal.ErrLocked, next)
	}
	return fmt.Errorf("cannot lock data folder %s: %w", dir, err)
}

func flock(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// makeDir makes the folder and those above it, if they are missing, and makes
// the name of each one that it made durable.
func makeDir(dir string) error {
	if st, err := os.Stat(dir); err == nil && st.IsDir() {
		return nil
	}
	parent := filepath.Dir(filepath.Clean(dir))
	if parent != dir {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

// Close lets go of the lock. Files of the folder must be closed before.
func (s *FS) Close() error {
	var err error
	s.mu.Lock()
	for path, d := range s.dirs {
		err = errors.Join(err, d.Close())
		delete(s.dirs, path)
	}
	s.mu.Unlock()
	if s.lock == nil {
		return err
	}
	return errors.Join(err, s.lock.Close())
}

// Dir returns the folder as it was given to Open.
func (s *FS) Dir() string { return s.dir }

// path turns a name into a path inside the folder.
func (s *FS) path(name string) (string, error) {
	if name == "" {
		return s.dir, nil
	}
	local, err := filepath.Localize(name)
	if err != nil {
		return "", fmt.Errorf("name %q would leave the data folder", name)
	}
	return filepath.Join(s.dir, local), nil
}

// writable is path for a method that changes something.
func (s *FS) writable(name string) (string, error) {
	if s.readOnly {
		return "", fmt.Errorf("data folder %s is open for reading only", s.dir)
	}
	return s.path(name)
}

// Create makes or empties a file, readable by its owner only.
func (s *FS) Create(name string) (wal.File, error) {
	path, err := s.writable(name)
	if err != nil {
		return nil, err
	}
	return s.open(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

// Open opens an existing file, for reading only if the folder is.
func (s *FS) Open(name string) (wal.File, error) {
	path, err := s.path(name)
	if err != nil {
		return nil, err
	}
	if s.readOnly {
		return s.open(path, os.O_RDONLY)
	}
	return s.open(path, os.O_RDWR)
}

func (s *FS) open(path string, flags int) (wal.File, error) {
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, mapError(err)
	}
	return &file{f: f, fd: int(f.Fd())}, nil
}

// Rename moves a file and replaces the target.
func (s *FS) Rename(from, to string) error {
	a, err := s.writable(from)
	if err != nil {
		return err
	}
	b, err := s.writable(to)
	if err != nil {
		return err
	}
	return mapError(os.Rename(a, b))
}

// Remove deletes a file.
func (s *FS) Remove(name string) error {
	path, err := s.writable(name)
	if err != nil {
		return err
	}
	return mapError(os.Remove(path))
}

// List returns the names in a folder, sorted.
func (s *FS) List(dir string) ([]string, error) {
	path, err := s.path(dir)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, mapError(err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// SyncDir makes a folder's names durable.
func (s *FS) SyncDir(dir string) error {
	path, err := s.writable(dir)
	if err != nil {
		return err
	}
	d, err := s.folder(path)
	if err != nil {
		return mapError(err)
	}
	return mapError(d.Sync())
}

// folder opens a folder once and for all: when a name was changed its sync must
// not fail for want of a descriptor.
func (s *FS) folder(path string) (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.dirs[path]; d != nil {
		return d, nil
	}
	d, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if s.dirs == nil {
		s.dirs = make(map[string]*os.File)
	}
	s.dirs[path] = d
	return d, nil
}

// MkdirAll makes a folder that its owner alone may enter.
func (s *FS) MkdirAll(dir string) error {
	path, err := s.writable(dir)
	if err != nil {
		return err
	}
	return mapError(os.MkdirAll(path, 0o700))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// mapError adds the wal's own errors to the system's.
func mapError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %w", wal.ErrNotExist, err)
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG): // the last is a ulimit's
		return fmt.Errorf("%w: %w", wal.ErrNoSpace, err)
	case errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE):
		return fmt.Errorf("%w: %w", wal.ErrNoFiles, err)
	}
	return err
}

type file struct {
	f  *os.File
	fd int
}

var (
	_ wal.File         = (*file)(nil)
	_ wal.CacheDropper = (*file)(nil)
)

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.f.ReadAt(p, off)
	if err == io.EOF {
		err = nil
	}
	return n, err
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.f.WriteAt(p, off)
	return n, mapError(err)
}

func (f *file) Size() (int64, error) {
	st, err := f.f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (f *file) Close() error { return f.f.Close() }
