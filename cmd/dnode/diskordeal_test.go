//go:build linux && root

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/dnode-engine/dnode/client"
	"github.com/dnode-engine/dnode/wire"
)

// ioctl tells a mounted file system something.
func (s *smallFS) ioctl(what uintptr, how uint32) error {
	f, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), what, uintptr(unsafe.Pointer(&how))); errno != 0 {
		return os.NewSyscallError("ioctl", errno)
	}
	return nil
}

// smallSegments makes segments end often, so that the power goes while one is
// prepared, sealed or taken over.
var smallSegments = edit{"wire/limits.go", "DefaultSegmentBytes = 64 << 20", "DefaultSegmentBytes = 8 << 20"}

// diskOrdeal is an ordeal of three nodes, each on a file system of its own that
// can be made to fail.
type diskOrdeal struct {
	*ordeal
	disks  []*smallFS
	ledger *ledger
}

// newDiskOrdeal starts three nodes of a build.
func newDiskOrdeal(t *testing.T, binary string, seed uint64) *diskOrdeal {
	t.Helper()
	const size = 1 << 30
	last := "ext4"
	if hasXFS() {
		last = "xfs"
	}
	disks := []*smallFS{mountKind(t, "ext4", size), mountKind(t, "ext4", size), mountKind(t, last, size)}
	c := clusterOfOn(t, binary, disks...)
	return &diskOrdeal{ordeal: newOrdealOn(t, c, seed), disks: disks, ledger: newLedger("ledger/", 16, 500, 2<<10)}
}

// hasXFS reports whether the machine knows xfs. Where it does not, tools/ci says
// so.
func hasXFS() bool {
	_, err := exec.LookPath("mkfs.xfs")
	known, _ := os.ReadFile("/proc/filesystems")
	return err == nil && strings.Contains(string(known), "\txfs\n")
}

// underLoad does something while the ledger is written. Then all members must be
// equal, with everything that was acknowledged.
func (p *diskOrdeal) underLoad(do func() error) error {
	ctx, cancel := context.WithCancel(context.Background())
	var load sync.WaitGroup
	load.Go(func() { p.ledger.run(ctx, p.ask.Put, func() bool { return true }) })
	err := do()
	cancel()
	load.Wait()
	if err != nil {
		return err
	}
	return p.whole()
}

// acked waits until so many more writes of the ledger were acknowledged.
func (p *diskOrdeal) acked(more uint64) error {
	want := p.ledger.acked.Load() + more
	for deadline := time.Now().Add(30 * time.Second); p.ledger.acked.Load() < want; rest(context.Background(), time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("no writes are acknowledged")
		}
	}
	return nil
}

// each does the same with the file systems of some nodes at once.
func (p *diskOrdeal) each(nodes []*clusterNode, do func(s *smallFS) error) error {
	errs := make([]error, len(nodes))
	var running sync.WaitGroup
	for i, n := range nodes {
		running.Go(func() { errs[i] = do(p.disks[p.c.index(n)]) })
	}
	running.Wait()
	return errors.Join(errs...)
}

// fences waits until a node knows that its disk fails, and says so once.
func (p *diskOrdeal) fences(n *clusterNode) error {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); rest(context.Background(), 10*time.Millisecond) {
		if st, ok := p.statuses()[n]; ok && st.State == wire.StateFenced {
			if strings.Count(n.err.String(), `"disk.fenced"`) == 1 { // the line comes after the state
				return nil
			}
		}
	}
	return fmt.Errorf("%s does not say, once, that its disk fails", n.name)
}

var errLost = errors.New("acknowledged writes are gone")

// whole waits until all members are equal, and looks for all that was
// acknowledged.
func (p *diskOrdeal) whole() error {
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
