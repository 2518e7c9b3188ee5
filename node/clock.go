package node

import (
	"fmt"

	"golang.org/x/sys/unix"
)

func readClock(id int32) int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		panic(fmt.Sprintf("BUG: clock %d cannot be read: %v", id, err))
	}
	return ts.Nano()
}
