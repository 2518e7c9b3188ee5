package osfs

import (
	"os"

	"golang.org/x/sys/unix"
)

// Free returns how many bytes of the file system an ordinary user may still
// take. Safe for concurrent use.
func (s *FS) Free() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(s.dir, &st); err != nil {
		return 0, os.NewSyscallError("statfs", err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}
