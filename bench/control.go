package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dnode-engine/dnode/client/load"
)

// controlEvery is the pause between two syncs of the control: a stall of the
// disk that is longer does not escape it.
const controlEvery = 50 * time.Millisecond

// control syncs a few bytes now and then in a file of its own, on the same disk
// and while a system is measured. What is slow for it too is not the system's
// doing.
type control struct {
	file *os.File
	size int
}

// newControl makes its file, full of zeros.
func newControl(dir string, size int) (*control, error) {
	f, err := zeroFile(filepath.Join(dir, "control"))
	if err != nil {
		return nil, fmt.Errorf("cannot make the file of the control: %w", err)
	}
	return &control{f, size}, nil
}

// close removes the file. Without a control there is nothing to do.
func (c *control) close() {
	if c != nil {
		_ = c.file.Close() // it holds nothing
		_ = os.Remove(c.file.Name())
	}
}

// start begins to sync. What it returns ends that and tells how long each took;
// an error ends it too, and what was measured up to then stands.
func (c *control) start() (stop func() latency) {
	if c == nil {
		return func() latency { return latency{} }
	}
	end, ended := make(chan struct{}), make(chan struct{})
	var took load.Histogram
	go func() {
		defer close(ended)
		tick := time.NewTicker(controlEvery)
		defer tick.Stop()
		block := make([]byte, c.size)
		for off := int64(0); ; off = (off + int64(c.size)) % (floorFileBytes - int64(c.size)) {
			begin := time.Now()
			if _, err := c.file.WriteAt(block, off); err != nil || syncFile(c.file) != nil {
				return
			}
			took.Record(time.Since(begin))
			select {
			case <-end:
				return
			case <-tick.C:
			}
		}
	}()
	return func() latency {
		close(end)
		<-ended
		return latencyOf(&took)
	}
}
