package client

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
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

// Requests larger than the room in the socket arrive whole and in order, of one
// caller, whose request is begun by itself, and of several.
func TestLargerThanRoom(t *testing.T) {
	nw := newNetwork(t, "n1:1")
	nw.tcp = true
	c := nw.open(t, "n1:1")
	c.mu.Lock()
	if socket, ok := c.nodes["n1:1"].conn.net.(*net.TCPConn); !ok || socket.SetWriteBuffer(64<<10) != nil {
		t.Fatal("cannot make the room small")
	}
	c.mu.Unlock()
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
