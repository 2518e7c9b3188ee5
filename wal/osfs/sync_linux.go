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

// DropCache forgets the file's clean pages.
func (f *file) DropCache() error {
	return os.NewSyscallError("fadvise", unix.Fadvise(f.fd, 0, 0, unix.FADV_DONTNEED))
}
