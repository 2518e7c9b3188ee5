package osfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Sync is fdatasync. An ENOSPC from it is a failed sync like any other: what
// was written is lost.
func (f *file) Sync() error {
	for {
		err := unix.Fdatasync(f.fd)
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

// Flush is sync_file_range. Where it cannot be had the Sync does it all.
func (f *file) Flush(off, n int64) error {
	const whole = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	for {
		err := unix.SyncFileRange(f.fd, off, n, whole)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOTSUP):
			return nil
		}
		return mapError(os.NewSyscallError("sync_file_range", err))
	}
}

// DropCache forgets the file's clean pages.
func (f *file) DropCache() error {
	return os.NewSyscallError("fadvise", unix.Fadvise(f.fd, 0, 0, unix.FADV_DONTNEED))
}
