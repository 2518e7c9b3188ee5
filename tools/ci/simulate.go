package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
)

// simulated is what a run says of itself: its base, and how much it did.
var (
	simBase  = regexp.MustCompile(`seeds from \d+ on`)
	simCount = regexp.MustCompile(`\d+ seeds \(\d+ twice\), .* found`)
)

// covered is what go test says of coverage, and leastCovered the share of the
// statements of the replica and its core, in percent, that the short simulation
// reaches by itself. What it cannot reach stands in node/sim/doc.go.
var covered = regexp.MustCompile(`coverage: ([0-9.]+)% of statements`)

const leastCovered = 90

func (c *ci) coverage(out io.Writer) error {
	var said bytes.Buffer
	err := c.goCmd(".", &said, "test", "./node/sim/...", "-short", "-count=1", "-coverpkg=./node/raft/...,./node/replica/...")
	out.Write(said.Bytes())
	if err != nil {
		return err
	}
	return coveredEnough(said.String())
}

func coveredEnough(said string) error {
	m := covered.FindStringSubmatch(said)
	if m == nil {
		return errors.New("go test says nothing of coverage")
	}
	if share, err := strconv.ParseFloat(m[1], 64); err != nil || share < leastCovered {
		return fmt.Errorf("the simulation reaches %s %% of node/raft and node/replica, at least %d are wanted (see node/sim/doc.go)", m[1], leastCovered)
	}
	return nil
}

// simulate runs the simulator on fresh seeds, and says which.
func (c *ci) simulate(out io.Writer) error {
	var said bytes.Buffer
	err := c.goCmd(".", &said, "run", "./tools/simfarm", "-for", c.simTime.String(), "-corpus", os.TempDir())
	out.Write(said.Bytes())
	if err != nil {
		return err
	}
	base, counts := simBase.Find(said.Bytes()), simCount.FindAll(said.Bytes(), -1)
	if base == nil || len(counts) == 0 {
		return errors.New("the simulator does not say what it did")
	}
	fmt.Printf("note: %s: %s\n", base, counts[len(counts)-1])
	return c.coverage(out)
}
