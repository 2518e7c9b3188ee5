//go:build linux && (amd64 || arm64)

package client

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/wire"
)

// lockedSocket returns the socket to a node, with the client locked and nothing to
// be written by the reader.
func lockedSocket(c *Client, addr string) *socket {
	c.mu.Lock()
	for c.nodes[addr].conn.corked {
		c.mu.Unlock()
		runtime.Gosched()
		c.mu.Lock()
	}
	return c.nodes[addr].conn.socket
}

// A completion does not run inside the call that announces it, also when that writes
// its request by itself and the failure ends it: its caller may hold a lock.
func TestFailedWriteTellsLater(t *testing.T) {
	nw := newNetwork(t, "n1:1")
	nw.tcp = true
	c := nw.open(t, "n1:1")
	if _, err := c.Put(t.Context(), "k", nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	socket := lockedSocket(c, "n1:1")
	socket.send = func(uintptr) bool {
		<-ctx.Done() // no time for another attempt
		socket.out.err = syscall.EPIPE
		return true
	}
	c.mu.Unlock()
	var inside atomic.Bool
	inside.Store(true)
	told := make(chan error, 1)
	done := func(_ Item, err error) {
		if inside.Load() {
			t.Error("told inside of GetAsync")
		}
		told <- err
	}
	if err := c.GetAsync(ctx, "k", ReadOptions{}, done); err != nil {
		t.Fatal(err)
	}
	inside.Store(false)
	if err := <-told; !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
}

// A batch of answers is told by the reader that has it in its buffer, also while
// that writes to another node what the batch has caused.
func TestReaderTellsItsBatch(t *testing.T) {
	nw := newNetwork(t, "n1:1", "n2:1")
	nw.tcp = true
	c := nw.open(t, "n1:1", "n2:1")
	if _, err := c.Put(t.Context(), "a", []byte("v")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Status(t.Context(), "n2:1"); err != nil {
		t.Fatal(err)
	}
	writing, goOn := make(chan bool, 10), make(chan bool)
	socket := lockedSocket(c, "n2:1")
	send := socket.send
	socket.send = func(fd uintptr) bool {
		writing <- true
		<-goOn
		return send(fd)
	}
	c.mu.Unlock()
	var answers []byte
	nw.nodes["n1:1"].setScript(func(p *link, f wire.Frame) bool {
		if answers == nil {
			answers = nw.store.answer(f)
			return true
		}
		p.send(wire.AppendErrorFrame(answers, f.ID, &wire.Error{Code: wire.CodeNotLeader, Leader: "n2:1"}))
		nw.lead("n2:1")
		return true
	})
	var told atomic.Int64
	ended := make(chan error, 2)
	done := func(it Item, err error) {
		told.Add(1)
		if err == nil && string(it.Value) != "v" {
			err = errors.New("another value")
		}
		ended <- err
	}
	for range 2 {
		if err := c.GetAsync(t.Context(), "a", ReadOptions{}, done); err != nil {
			t.Fatal(err)
		}
	}
	<-writing // the second request, to n2
	c.mu.Lock()
	c.unlock()
	if told.Load() > 0 {
		t.Error("somebody else told the reader's batch")
	}
	close(goOn)
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
