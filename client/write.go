package client

import (
	"fmt"
	"runtime"
)

// How requests are written. There is one buffer of pending frames per
// connection, and one who writes at a time, all that is pending at once:
//
//   - the reader, what completions have started in between two batches
//   - a caller with whom nothing else is in flight: nobody would share its write
//   - otherwise the writer, a goroutine of the connection
//
// The first two must not wait: what the connection does not take at once is the
// writer's. A connection that cannot be written to without waiting has only the
// writer.

// arrange sees to it that what was just appended is written.
func (k *conn) arrange() {
	c := k.client
	if k.socket != nil && !k.writing && k.inFlight == 1 && c.eager == nil {
		c.eager = k
		return
	}
	k.signal()
}

// signal wakes the writer if there is something for it to do.
func (k *conn) signal() {
	if k.idle && (k.dead || len(k.pending) > 0 && !k.writing) {
		k.idle = false
		k.wake <- struct{}{} // has room: only an idle writer is woken, once
	}
}

// flush writes what is pending, as far as that can be done without waiting. The
// lock is given back meanwhile.
func (k *conn) flush() {
	if k.socket != nil && !k.writing && !k.dead && len(k.pending) > 0 {
		out := k.take()
		k.client.mu.Unlock()
		n, err := k.socket.write(out)
		k.client.mu.Lock()
		k.wrote(out, n, err)
	}
	k.signal()
}

// writeLoop writes what others leave, for as long as the connection lives.
func (k *conn) writeLoop() {
	c := k.client
	c.mu.Lock()
	for !k.dead {
		if len(k.pending) == 0 || k.writing {
			k.idle = true
			c.mu.Unlock()
			<-k.wake
			runtime.Gosched() // whoever can run may have something to send too
			c.mu.Lock()
			continue
		}
		out := k.take()
		c.mu.Unlock()
		n, err := k.net.Write(out)
		c.mu.Lock()
		k.wrote(out, n, err)
	}
	c.unlock()
}

// take begins a write of all that is pending. Meanwhile callers append to the
// other buffer.
func (k *conn) take() []byte {
	out := k.pending
	k.pending, k.spare = k.spare, nil
	k.taken += uint64(len(out))
	k.writing = true
	return out
}

// wrote ends a write, of which n bytes have left this process. The rest is
// pending again, unless the connection has failed.
func (k *conn) wrote(out []byte, n int, err error) {
	k.writing = false
	k.taken -= uint64(len(out) - n)
	switch {
	case k.dead:
	case err != nil:
		k.client.lost(k, fmt.Errorf("connection lost: %w", err))
	case n < len(out):
		rest := out[:copy(out, out[n:])]
		k.pending, out = append(rest, k.pending...), k.pending
	}
	k.spare = keepBuffer(out)
}

// keepBuffer returns the buffer for reuse unless a burst made it large.
func keepBuffer(b []byte) []byte {
	if cap(b) > 1<<20 {
		return nil
	}
	return b[:0]
}
