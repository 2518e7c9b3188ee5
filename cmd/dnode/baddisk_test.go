//go:build linux && root

package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/wire"
)

const (
	freezeFS = 0xc0045877 // FIFREEZE
	thawFS   = 0xc0045878 // FITHAW
)

// freeze makes every write to a file system wait. What waits cannot even be
// killed, so it is thawed whatever happens to the test.
func (s *smallFS) freeze() error {
	err := s.ioctl(freezeFS, 0)
	if err == nil {
		s.frozen = true
		s.t.Cleanup(func() { s.must(s.thaw()) })
	}
	return err
}

// thaw ends that. It does nothing to a file system that is not frozen.
func (s *smallFS) thaw() error {
	if !s.frozen {
		return nil
	}
	s.frozen = false
	return s.ioctl(thawFS, 0)
}

// The disk of the leader hangs under load: somebody else leads within two
// election timeouts, reads and writes go on, and when the disk goes on the node
// is a member like before. Nothing acknowledged is lost, nothing stale is read.
func TestHangingDisk(t *testing.T) {
	const twoElectionTimeouts = 2 * 2 * 500 * time.Millisecond // each is at most twice the least one
	p := newDiskOrdeal(t, buildMutant(t, smallSegments), 3)
	best := time.Hour
	for range 3 { // a lost election or a busy machine takes longer, not every time
		took := time.Duration(0)
		if err := p.underLoad(func() (err error) {
			took, err = p.hangLeader()
			return err
		}); err != nil {
			t.Fatal(err)
		}
		t.Logf("another node led after %v", took.Round(time.Millisecond))
		best = min(best, took)
	}
	if best > twoElectionTimeouts {
		t.Errorf("leadership moved after %v at best, want %v", best, twoElectionTimeouts)
	}
	p.load.end()
	if _, err := p.judge(); err != nil {
		t.Fatal(err)
	}
}

// hangLeader lets the leader's disk hang until somebody else leads, and serves,
// and returns how long the change took.
func (p *diskOrdeal) hangLeader() (time.Duration, error) {
	if err := p.acked(100); err != nil {
		return 0, err
	}
	lead, term := p.leader(0)
	disk := p.disks[p.c.index(lead)]
	if err := disk.freeze(); err != nil {
		return 0, err
	}
	began := time.Now()
	p.leader(term)
	took := time.Since(began)
	if err := p.acked(200); err != nil {
		return 0, fmt.Errorf("while one disk hangs: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := p.ask.Get(ctx, "ready"); err != nil {
		return 0, fmt.Errorf("while one disk hangs: %w", err)
	}
	if st, ok := p.statuses()[lead]; ok && (st.Role == wire.RoleLeader || st.State == wire.StateFenced) {
		return 0, fmt.Errorf("%s, whose disk hangs, answers %+v", lead.name, st)
	} else if !ok { // its loop waits for the disk, too
		code, text := lead.page(p.t, "/readyz")
		if code != http.StatusServiceUnavailable || !strings.Contains(text, "the disk does not return") {
			return 0, fmt.Errorf("%s, whose disk hangs, is silent, and /readyz says %d %q", lead.name, code, text)
		}
	}
	return took, disk.thaw()
}

// inject makes system calls of a running process fail, until the returned
// function is called.
func inject(t *testing.T, n *clusterNode, what string) (end func()) {
	t.Helper()
	call, _, _ := strings.Cut(what, ":")
	s := &process{done: make(chan struct{}), cmd: exec.Command("strace", "-f", "-e", "trace="+call, "-e", "inject="+what,
		"-o", os.DevNull, "-p", strconv.Itoa(n.cmd.Process.Pid))}
	s.cmd.Stderr = &s.err
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		s.cmd.Wait()
		close(s.done)
	}()
	end = func() {
		s.cmd.Process.Signal(syscall.SIGINT) // it lets go of the process
		<-s.done
	}
	t.Cleanup(end)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !strings.Contains(s.err.String(), " attached") {
		pause(ctx, t)
	}
	return end
}

// One sync of a node fails, and later ones would not: the node is out for good,
// says so once, and goes on as a member when it was started again and has read
// its log past the cache. The others serve, and nothing acknowledged is lost.
func TestFailedSync(t *testing.T) {
	p := newDiskOrdeal(t, buildMutant(t, smallSegments), 4)
	for _, leads := range []bool{false, true} {
		var n *clusterNode
		if err := p.underLoad(func() (err error) {
			n, err = p.failSync(leads)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if said := n.err.String(); strings.Count(said, `"wal.fenced"`) != 1 {
			t.Errorf("%s does not say that it has read its log past the cache: %s", n.name, said)
		}
	}
	p.load.end()
	if _, err := p.judge(); err != nil {
		t.Fatal(err)
	}
}

// failSync lets a sync of the leader or of another node fail, and restarts it.
func (p *diskOrdeal) failSync(leads bool) (*clusterNode, error) {
	if err := p.acked(100); err != nil {
		return nil, err
	}
	n, _ := p.leader(0)
	if !leads {
		n = p.c.nodes[(p.c.index(n)+1)%3]
	}
	end := inject(p.t, n, "fdatasync:error=EIO:when=1")
	if err := p.fences(n); err != nil {
		return nil, err
	}
	end()
	if err := p.acked(500); err != nil {
		return nil, fmt.Errorf("while one node is fenced: %w", err)
	}
	if err := p.fences(n); err != nil {
		return nil, fmt.Errorf("with a disk that works again: %w", err)
	}
	n.kill()
	p.c.start(n)
	return n, nil
}
