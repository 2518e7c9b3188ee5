package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
)

// simulated is what a run says of itself: its base, and how much it did.
var (
	simBase  = regexp.MustCompile(`fresh seeds from \d+ on, for \S+`)
	simCount = regexp.MustCompile(`\d+ seeds \(\d+ of them twice\), \d+ events, \d+ virtual s, \d+ terms \(median \d+ a seed\), \d+ faults`)
)

// simulate runs the simulator on fresh seeds, and says which.
func (c *ci) simulate(out io.Writer) error {
	var said bytes.Buffer
	env := []string{"DNODETEST_SIM=" + c.simTime.String()}
	err := c.exec(".", &said, env, "go", "test", "-count=1", "-v", "-run", "^TestSwarm$", "./node/sim")
	out.Write(said.Bytes())
	if err != nil {
		return err
	}
	base, counts := simBase.Find(said.Bytes()), simCount.FindAll(said.Bytes(), -1)
	if base == nil || len(counts) == 0 {
		return errors.New("the simulator does not say what it did")
	}
	fmt.Printf("note: %s: %s\n", base, counts[len(counts)-1])
	return nil
}
