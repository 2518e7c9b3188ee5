package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// A socket takes what there is room for and never waits; what was taken arrives.
func TestSocketDoesNotWait(t *testing.T) {
	ours, theirs, err := tcpPair()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	defer ours.Close()
	s := newSocket(ours)
	if s == nil {
		return // not on this system
	}
	chunk := make([]byte, 1<<20)
	sent := 0
	for full := false; !full; {
		n, err := s.write(chunk)
		if err != nil || sent > 1<<30 {
			t.Fatalf("after %d bytes: %v", sent, err)
		}
		sent += n
		full = n == 0
	}
	var got int64
	var wg sync.WaitGroup
	wg.Go(func() { got, _ = io.Copy(io.Discard, theirs) })
	ours.Close()
	wg.Wait()
	if got != int64(sent) {
		t.Errorf("%d bytes arrived of %d", got, sent)
	}
	if _, err := s.write(chunk); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
	if _, err := s.read(chunk); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
}

// A socket reads what there is, waits for it if need be, and knows the end.
func TestSocketReads(t *testing.T) {
	ours, theirs, err := tcpPair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	s := newSocket(ours)
	if s == nil {
		return // not on this system
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	var got []byte
	wg.Go(func() {
		b := make([]byte, 3)
		for {
			n, err := s.read(b)
			got = append(got, b[:n]...)
			if err != nil {
				if !errors.Is(err, io.EOF) || string(got) != "one and two" {
					t.Errorf("read %q: %v", got, err)
				}
				return
			}
		}
	})
	_, _ = theirs.Write([]byte("one and "))
	_, _ = theirs.Write([]byte("two"))
	theirs.Close()
}

// A wrapped socket is written to as it says.
func TestWrappedSocket(t *testing.T) {
	ours, theirs, err := tcpPair()
	if err != nil {
		t.Fatal(err)
	}
	ours.Close()
	theirs.Close()
	if newSocket(struct{ *net.TCPConn }{ours.(*net.TCPConn)}) != nil {
		t.Error("what wraps a socket is taken for one")
	}
}

// littleRoom makes the socket to n1 take little at once.
func littleRoom(t *testing.T, c *Client) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if socket, ok := c.nodes["n1:1"].conn.net.(*net.TCPConn); !ok || socket.SetWriteBuffer(64<<10) != nil {
		t.Fatal("cannot make the room small")
	}
}

// A caller that writes its own request is not held up by a node that does not
// read, and what it leaves behind half written is still one whole request.
func TestFullSocket(t *testing.T) {
	nw := newNetwork(t, "n1:1")
	nw.tcp = true
	c := nw.open(t, "n1:1")
	littleRoom(t, c)
	if _, err := c.Put(t.Context(), "k", nil); err != nil {
		t.Fatal(err)
	}
	s := nw.nodes["n1:1"]
	s.mu.Lock()
	var node *link
	for node = range s.links {
		node.mu.Lock() // it reads no further
	}
	s.mu.Unlock()
	begin, unknown := time.Now(), uint64(0)
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err := c.Put(ctx, "k", make([]byte, 1_000_000))
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("put: %v", err)
		}
		if OutcomeUnknown(err) {
			unknown++
		}
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("three puts of 50 ms each took %v", took)
	}
	node.mu.Unlock()
	if _, err := c.Put(t.Context(), "k", []byte("v")); err != nil {
		t.Errorf("put after that: %v", err)
	}
	if it, err := c.Get(t.Context(), "k"); err != nil || string(it.Value) != "v" || it.Version != 2+unknown {
		t.Errorf("got %.10q, version %d, %v", it.Value, it.Version, err)
	}
}

// Requests larger than the room in the socket arrive whole and in order, of one
// caller, whose request is begun by itself, and of several.
func TestLargerThanRoom(t *testing.T) {
	nw := newNetwork(t, "n1:1")
	nw.tcp = true
	c := nw.open(t, "n1:1")
	littleRoom(t, c)
	round := func(key string, size int) {
		value := bytes.Repeat([]byte(key), size/len(key))
		if _, err := c.Put(t.Context(), key, value); err != nil {
			t.Errorf("put %s: %v", key, err)
		}
		if it, err := c.Get(t.Context(), key); err != nil || !bytes.Equal(it.Value, value) {
			t.Errorf("get %s: %d bytes of %d, %v", key, len(it.Value), len(value), err)
		}
	}
	for size := 1000; size < 1<<20; size *= 3 {
		round("alone", size)
	}
	var wg sync.WaitGroup
	for _, key := range []string{"a", "bc", "def", "ghij"} {
		wg.Go(func() {
			for i := range 5 {
				round(key, 100_000*(i+1))
			}
		})
	}
	wg.Wait()
}
