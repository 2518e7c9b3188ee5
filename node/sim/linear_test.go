package sim

import (
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// TestSearchNoticesOneStaleRead plants a single stale read in correct histories:
// if the search is content with them, it proves nothing.
func TestSearchNoticesOneStaleRead(t *testing.T) {
	caught := 0
	for seed := uint64(1); seed <= 5; seed++ {
		opt := powerLoss(seed)
		opt.Search = true
		c := New(opt)
		if c.run(); c.err != nil {
			t.Fatalf("seed %d: %v", c.opt.Seed, c.err)
		}
		ops, err := c.check.operations(c)
		if err != nil {
			t.Fatal(err)
		}
		if plantStaleRead(ops) && porcupine.CheckOperationsTimeout(register, ops, time.Minute) == porcupine.Illegal {
			caught++
		}
	}
	if caught == 0 {
		t.Fatal("no planted stale read was noticed: the check proves nothing")
	}
}

// plantStaleRead makes the last answered read return the value that an earlier
// read of the key returned, if that is another.
func plantStaleRead(ops []porcupine.Operation) bool {
	for i := len(ops) - 1; i >= 0; i-- {
		in, out := ops[i].Input.(input), ops[i].Output.(output)
		if in.op != 0 {
			continue
		}
		for j := range i {
			if o := ops[j].Output.(output); ops[j].Input.(input) == in && o.text != out.text && ops[j].Return < ops[i].Call {
				ops[i].Output = o
				return true
			}
		}
	}
	return false
}
