//go:build linux && root

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

// How a file system goes down: with what its journal holds in memory, or
// without, as when the power goes.
const (
	goingDown      = 0x8004587d // FS_IOC_SHUTDOWN of ext4 and xfs
	withJournal    = 1
	withoutJournal = 2
)

// cutPower makes a file system forget at once all that is not on its device,
// and fail from then on.
func (s *smallFS) cutPower(how uint32) error { return s.ioctl(goingDown, how) }

// writeBack does what the kernel does by itself, but later.
func (s *smallFS) writeBack() error { return command("sync", "-f", s.dir) }

// powerOn mounts it again: the journal is replayed, nothing else is there.
func (s *smallFS) powerOn() error {
	if err := s.umount(); err != nil {
		return err
	}
	return s.mount()
}

// powerLoss is an ordeal in which the power goes.
type powerLoss struct {
	*diskOrdeal
	ones, alls, leaders int
}

// cycle cuts the power of one node or of all under load and gives it back. Then
// all must be there again, equal, with every acknowledged write.
func (p *powerLoss) cycle(all bool) error {
	return p.underLoad(func() error {
		if err := p.acked(uint64(100 + p.random.IntN(500))); err != nil {
			return err
		}
		victims, err := p.cut(all)
		if err != nil {
			return err
		}
		if !all && p.random.IntN(2) == 0 {
			if err := p.acked(100); err != nil {
				return fmt.Errorf("two of three do not go on: %w", err)
			}
		}
		if err := p.each(victims, (*smallFS).powerOn); err != nil {
			return err
		}
		for _, n := range victims {
			p.c.start(n)
		}
		return nil
	})
}

// cut takes the power from one node or from all at one moment, and ends their
// processes: at once, or after they had to live with it.
func (p *powerLoss) cut(all bool) ([]*clusterNode, error) {
	victims := p.c.nodes
	lead, _ := p.leader(0)
	if p.alls++; !all {
		p.alls--
		p.ones++
		victims = []*clusterNode{p.c.nodes[p.random.IntN(3)]}
		if victims[0] == lead {
			p.leaders++
		}
	}
	how := uint32(withoutJournal)
	if p.random.IntN(4) == 0 {
		how = withJournal
	}
	rest(context.Background(), p.some(0, 20*time.Millisecond))
	err := p.each(victims, func(s *smallFS) error { return s.cutPower(how) })
	if err == nil && !all && p.random.IntN(2) == 0 {
		err = p.fences(victims[0])
	}
	for _, n := range victims {
		n.cmd.Process.Kill()
	}
	for _, n := range victims {
		<-n.done
	}
	return victims, err
}

// cyclesWanted is how often the power goes.
func cyclesWanted(t *testing.T) int {
	s := os.Getenv("DNODETEST_CYCLES")
	if s == "" {
		return 10
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("DNODETEST_CYCLES=%q is not a number above zero", s)
	}
	return n
}

// The file systems of one node or of all go down under load, in the midst of
// whatever is written, and come back with what was synced: every acknowledged
// write is there, all members are equal, and the history is linearizable.
//
// DNODETEST_CYCLES=200 is the full form.
func TestPowerLoss(t *testing.T) {
	p := &powerLoss{diskOrdeal: newDiskOrdeal(t, buildMutant(t, smallSegments), 1)}
	began := time.Now()
	end, limited := t.Deadline()
	n := cyclesWanted(t)
	for i := range n {
		if limited && time.Until(end) < 2*time.Minute { // while there is time to clean up
			t.Fatalf("time for %d of %d cycles only: use go test -timeout", i, n)
		}
		if err := p.cycle(i%2 == 0); err != nil {
			t.Fatalf("cycle %d: %v", i+1, err)
		}
	}
	took := time.Since(began)
	p.load.end()
	if _, err := p.judge(); err != nil {
		t.Fatal(err)
	}
	t.Logf("power lost %d times by all, %d times by one (%d times the leader), in %v; %d writes acknowledged, %d unknown",
		p.alls, p.ones, p.leaders, took.Round(time.Second), p.ledger.acked.Load(), p.ledger.unknown.Load())
}

// settle writes back what all members have by now. Nothing is written meanwhile,
// of which a part would go with it.
func (p *powerLoss) settle() error {
	p.load.still.Lock()
	defer p.load.still.Unlock()
	if _, err := p.agreed(30 * time.Second); err != nil {
		return err
	}
	return p.each(p.c.nodes, (*smallFS).writeBack)
}

// The test above notices a build that acknowledges what it has not synced, be it
// that it syncs no file or only that it does not sync the log's groups. What was
// there before is written back, as the kernel does in time: otherwise the nodes
// find not even their names, and say so instead of starting.
func TestPowerLossNoticesMissingSyncs(t *testing.T) {
	f := func(what string, edits ...edit) {
		t.Run(what, func(t *testing.T) {
			p := &powerLoss{diskOrdeal: newDiskOrdeal(t, buildMutant(t, append(edits, smallSegments)...), 2)}
			const tries = 3
			for range tries {
				if err := p.settle(); err != nil {
					t.Fatal(err)
				}
				switch err := p.cycle(true); {
				case errors.Is(err, errLost):
					t.Log(err)
					return
				case err != nil:
					t.Fatal(err)
				}
			}
			t.Errorf("nothing was lost in %d power losses", tries)
		})
	}
	f("files", edit{"wal/osfs/sync_linux.go", "unix.Fdatasync(f.fd)", "error(nil)"},
		edit{"wal/osfs/sync_linux.go", "unix.SyncFileRange(f.fd, off, n, whole)", "error(nil)"})
	f("groups", edit{"wal/log.go", "if err := l.seg.file.Sync(); err != nil {", "if err := error(nil); err != nil {"})
}
