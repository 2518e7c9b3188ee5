package osfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Sync is F_FULLFSYNC: through the drive's cache, slow.
func (f *file) Sync() error {
	for {
		_, err := unix.FcntlInt(uintptr(f.fd), unix.F_FULLFSYNC, 0)
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fcntl F_FULLFSYNC", err)
		}
	}
}

// DropCache makes further reads of the file go past the cache.
func (f *file) DropCache() error {
	_, err := unix.FcntlInt(uintptr(f.fd), unix.F_NOCACHE, 1)
	return os.NewSyscallError("fcntl F_NOCACHE", err)
}
