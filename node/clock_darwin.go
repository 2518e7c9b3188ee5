package node

import "golang.org/x/sys/unix"

// monotonic returns nanoseconds since an arbitrary point, on a clock that goes
// on while the machine is suspended: on Darwin that is the plain monotonic one.
func monotonic() int64 { return readClock(unix.CLOCK_MONOTONIC) }
