//go:build linux && root

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/dnode-engine/dnode/client"
	"github.com/dnode-engine/dnode/wire"
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
func (s *smallFS) cutPower(how int) error {
	f, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	flags := uint32(how)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), goingDown, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		return os.NewSyscallError("ioctl", errno)
	}
	return nil
}

// writeBack does what the kernel does by itself, but later.
func (s *smallFS) writeBack() error { return command("sync", "-f", s.dir) }

// powerOn mounts it again: the journal is replayed, nothing else is there.
func (s *smallFS) powerOn() error {
	if err := s.umount(); err != nil {
		return err
	}
	return s.mount()
}

// smallSegments makes segments end often, so that the power goes while one is
// prepared, sealed or taken over.
var smallSegments = edit{"wire/limits.go", "DefaultSegmentBytes = 64 << 20", "DefaultSegmentBytes = 8 << 20"}

// powerLoss is an ordeal on file systems that lose their power.
type powerLoss struct {
	*ordeal
	disks  []*smallFS
	ledger *ledger

	ones, alls, leaders, fenced int
}

// newPowerLoss starts three nodes of a build, each on a file system of its own.
func newPowerLoss(t *testing.T, binary string, seed uint64) *powerLoss {
	t.Helper()
	const size = 1 << 30
	last := "ext4"
	if hasXFS() {
		last = "xfs"
	}
	disks := []*smallFS{mountKind(t, "ext4", size), mountKind(t, "ext4", size), mountKind(t, last, size)}
	c := clusterOfOn(t, binary, disks...)
	return &powerLoss{ordeal: newOrdealOn(t, c, seed), disks: disks, ledger: newLedger("ledger/", 16, 500, 2<<10)}
}

// hasXFS reports whether the machine knows xfs. Where it does not, tools/ci says
// so.
func hasXFS() bool {
	_, err := exec.LookPath("mkfs.xfs")
	known, _ := os.ReadFile("/proc/filesystems")
	return err == nil && strings.Contains(string(known), "\txfs\n")
}

var errLost = errors.New("acknowledged writes are gone")

// cycle cuts the power of one node or of all under load and gives it back. Then
// all must be there again, equal, with every acknowledged write.
func (p *powerLoss) cycle(all bool) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var load sync.WaitGroup
	load.Go(func() { p.ledger.run(ctx, p.ask.Put, func() bool { return true }) })
	defer load.Wait()
	defer cancel()
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
	cancel()
	load.Wait()
	return p.whole()
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
	how := withoutJournal
	if p.random.IntN(4) == 0 {
		how = withJournal
	}
	rest(context.Background(), p.some(0, 20*time.Millisecond))
	err := p.each(victims, func(s *smallFS) error { return s.cutPower(how) })
	if err == nil && !all && p.random.IntN(2) == 0 {
		p.fenced++
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

// each does the same with the file systems of some nodes at once.
func (p *powerLoss) each(nodes []*clusterNode, do func(s *smallFS) error) error {
	errs := make([]error, len(nodes))
	var running sync.WaitGroup
	for i, n := range nodes {
		running.Go(func() { errs[i] = do(p.disks[p.c.index(n)]) })
	}
	running.Wait()
	return errors.Join(errs...)
}

// fences waits until a node knows that its disk fails, and says so once.
func (p *powerLoss) fences(n *clusterNode) error {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); rest(context.Background(), 10*time.Millisecond) {
		if st, ok := p.statuses()[n]; ok && st.State == wire.StateFenced {
			if strings.Count(n.err.String(), `"disk.fenced"`) == 1 { // the line comes after the state
				return nil
			}
		}
	}
	return fmt.Errorf("%s does not say, once, that its disk fails", n.name)
}

// acked waits until so many more writes of the ledger were acknowledged.
func (p *powerLoss) acked(more uint64) error {
	want := p.ledger.acked.Load() + more
	for deadline := time.Now().Add(30 * time.Second); p.ledger.acked.Load() < want; rest(context.Background(), time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("no writes are acknowledged")
		}
	}
	return nil
}

// whole waits until all members are equal, and looks for all that was
// acknowledged.
func (p *powerLoss) whole() error {
	p.load.still.Lock()
	defer p.load.still.Unlock()
	if _, err := p.agreed(30 * time.Second); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	a, err := p.ledger.check(p.ask.Scan(ctx, client.Range{Prefix: p.ledger.prefix}))
	if err == nil && a.bad != 0 {
		err = fmt.Errorf("%w: %d, as: %s", errLost, a.bad, strings.Join(a.wrong, "; "))
	}
	return err
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
	p := newPowerLoss(t, buildMutant(t, smallSegments), 1)
	began := time.Now()
	for i := range cyclesWanted(t) {
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

// The test above notices a build that acknowledges what it has not synced, be it
// that it syncs no file or only that it does not sync the log's groups. What was
// there before is written back, as the kernel does in time: otherwise the nodes
// find not even their names, and say so instead of starting.
func TestPowerLossNoticesMissingSyncs(t *testing.T) {
	f := func(what string, edits ...edit) {
		t.Run(what, func(t *testing.T) {
			p := newPowerLoss(t, buildMutant(t, append(edits, smallSegments)...), 2)
			const tries = 3
			for range tries {
				if err := p.each(p.c.nodes, (*smallFS).writeBack); err != nil {
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
