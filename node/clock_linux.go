package node

import "golang.org/x/sys/unix"

// monotonic returns nanoseconds since an arbitrary point, on a clock that goes
// on while the machine is suspended: a lease must not survive a closed lid.
func monotonic() int64 { return readClock(unix.CLOCK_BOOTTIME) }
