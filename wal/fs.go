package wal

import (
	"errors"
	"fmt"

	"github.com/dnode-engine/dnode/wire"
)

// FS is the data folder. Names are relative to it, with forward slashes; ""
// is the folder itself. Errors wrap ErrNotExist, ErrNoSpace and ErrNoFiles where
// these apply. Methods are called from one goroutine, except that PrepareSegment may
// run beside the log on another one.
type FS interface {
	// Create makes an empty file, or empties an existing one. The name is
	// durable only after SyncDir.
	Create(name string) (File, error)
	// Open opens an existing file for reading and writing.
	Open(name string) (File, error)
	// Rename moves a file within its folder and replaces the target. It is
	// atomic, and durable after SyncDir.
	Rename(from, to string) error
	// Remove deletes a file; durable after SyncDir.
	Remove(name string) error
	// List returns the names in a folder, sorted, without the folder's own.
	List(dir string) ([]string, error)
	// SyncDir makes the names in a folder durable.
	SyncDir(dir string) error
	// MkdirAll makes a folder, and those above it, if missing.
	MkdirAll(dir string) error
}

// File is one open file.
type File interface {
	// ReadAt fills p from off on. It returns fewer bytes than asked only at
	// the end of the file, and then without an error.
	ReadAt(p []byte, off int64) (int, error)
	// WriteAt writes p at off. It may write less without an error; the caller
	// resumes. It keeps no reference to p.
	WriteAt(p []byte, off int64) (int, error)
	// Sync returns when the file's bytes and size are on the disk. After an
	// error nothing is known about what was written since the last success.
	Sync() error
	// Size returns the file's size in bytes.
	Size() (int64, error)
	// Close closes the handle and syncs nothing.
	Close() error
}

// CacheDropper is what a File may also do: forget cached pages, so that the
// next read comes from the disk. Open uses it after a fence.
type CacheDropper interface {
	// DropCache forgets the clean pages of the file.
	DropCache() error
}

// Flusher is what a File may also do: hand written bytes to the device.
type Flusher interface {
	// Flush returns when the device has taken n bytes from off on. They are not
	// durable: Sync is still to come.
	Flush(off, n int64) error
}

// Errors that callers decide by.
var (
	// ErrNotExist is wrapped when a file is missing.
	ErrNotExist = errors.New("file does not exist")
	// ErrNoSpace is wrapped when the disk is full. The log stays usable: what
	// was appended before can be read, and the same append may be tried again.
	ErrNoSpace = errors.New("no space left on the disk")
	// ErrNoFiles is wrapped when a file cannot be opened or created because the
	// process, or the system, has no descriptor left. What follows is the same as
	// for ErrNoSpace.
	ErrNoFiles = errors.New("no file descriptor left")
	// ErrFenced is wrapped by every write after a write or sync has failed:
	// what the disk holds is then unknown until the folder is opened again.
	ErrFenced = errors.New("log is fenced after a failed write or sync")
	// ErrOutOfRange is wrapped by Read for an index that is not in the log.
	ErrOutOfRange = errors.New("index is not in the log")
	// ErrOwner is wrapped when a file in the folder belongs to another replica.
	ErrOwner = errors.New("data belongs to another replica")
	// ErrLocked is wrapped when another process holds the data folder.
	ErrLocked = errors.New("data folder is in use by another process")
)

// Passes reports whether a failed call has changed nothing that matters and may
// be made again when there is room, or a descriptor. A fence never passes,
// whatever has led to it.
func Passes(err error) bool {
	return (errors.Is(err, ErrNoSpace) || errors.Is(err, ErrNoFiles)) && !errors.Is(err, ErrFenced)
}

// CorruptError reports damage to data that was known to be durable. Nothing
// was changed on the disk.
type CorruptError struct {
	File        string     // relative to the data folder
	Offset      int64      // of the first damaged record
	First, Last wire.Index // entries affected; Last zero: unknown, both zero: none known
	Reason      string
	Err         error // cause, may be nil
}

func (e *CorruptError) Error() string {
	s := fmt.Sprintf("%s is damaged at offset %d: %s", e.File, e.Offset, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	switch {
	case e.First > 0 && e.Last > 0:
		s += fmt.Sprintf(" (entries %d to %d)", e.First, e.Last)
	case e.First > 0:
		s += fmt.Sprintf(" (entries from %d on)", e.First)
	}
	if isUnreadable(e.Err) {
		return s + "; nothing was cut: check the disk and start again; if it stays so, " + restoreAdvice
	}
	return s + "; nothing was cut: " + restoreAdvice
}

// restoreAdvice is what can be done about files that are damaged or missing. An
// older copy of a log, vote or identity has forgotten what others rely on.
const restoreAdvice = "bring back this very file from a copy that is not older; without one this node stays out, and the others go on without it if they are a majority"

// Unwrap returns the cause.
func (e *CorruptError) Unwrap() error { return e.Err }

// CutRange names what recovery cut: the unattested tail of the log, which
// nobody was told was durable. Bytes from Offset on were replaced by zeros.
type CutRange struct {
	File          string
	Offset, Bytes int64
	First, Last   wire.Index // entries the cut group announced; zero: unknown
	Reason        string
}

func (c *CutRange) String() string {
	s := fmt.Sprintf("cut %d unattested bytes of %s at offset %d: %s", c.Bytes, c.File, c.Offset, c.Reason)
	if c.First > 0 {
		s += fmt.Sprintf(" (entries %d to %d)", c.First, c.Last)
	}
	return s
}
