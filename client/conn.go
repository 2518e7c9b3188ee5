package client

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/dnode-engine/dnode/wire"
)

// conn is one open connection. One goroutine reads and matches answers to calls.
// What is pending is written at once, by one at a time: see write.go. The fields
// are guarded by Client.mu, apart from net, socket, session and the read buffer.
type conn struct {
	client *Client
	node   *node
	net    net.Conn
	socket *socket // of net, which can be written to without waiting; may be nil

	// of the reader
	session wire.Session
	buf     []byte // read, not yet parsed: buf[from:to]
	from    int
	to      int

	// granted by the node
	maxFrame   int
	limit      int // requests in flight
	limitBytes int

	slots    []slot
	free     int // first free slot + 1, zero: none
	inFlight int
	bytes    int // of the requests in flight, frame headers included

	pending  []byte // frames not yet taken by who writes
	spare    []byte // the other buffer
	appended uint64 // stream offset of the end of pending
	taken    uint64 // stream offset up to which bytes may have reached the node
	writing  bool   // somebody writes
	wake     chan struct{}
	idle     bool // the writer waits for wake
	corked   bool // the reader is between a batch of answers and its end

	dead      bool
	answered  bool // something was answered on this connection
	suspect   bool // silent for too long
	pinged    bool // a sign of life was asked for
	pingAt    int64
	lastHeard int64
	busySince int64 // since when something has been in flight without a break
}

// slot is one request in flight. Its number and generation make the request
// id, so that an answer meant for an earlier request never matches.
type slot struct {
	generation uint32
	next       int // free list: number + 1
	used       bool
	call       *call // nil if the caller has given up: the credit is still out
	frame      wire.FrameType
	bytes      int
	end        uint64 // stream offset behind the frame
}

// readBytes is the read buffer to begin with; it grows to one whole frame.
const readBytes = 64 << 10

// Room that is kept free of the node's grant for a sign of life.
const pingBytes = wire.FrameHeaderBytes

func newConn(c *Client, n *node, nc net.Conn) *conn {
	return &conn{
		client: c, node: n, net: nc, socket: newSocket(nc),
		session: wire.NewSession(wire.SessionConfig{Side: wire.ClientSide}, c.now()),
		buf:     make([]byte, readBytes),
		wake:    make(chan struct{}, 1),
	}
}

// hello introduces the client and takes the node's grant. It runs before the
// connection is known to anyone else.
func (k *conn) hello() error {
	c := k.client
	if err := k.net.SetDeadline(time.Now().Add(c.cfg.DialTimeout)); err != nil {
		return fmt.Errorf("cannot say hello: %w", err)
	}
	h := wire.Hello{Version: wire.Version, MinVersion: wire.MinVersion, Side: wire.ClientSide, Name: c.cfg.Name}
	if _, err := k.net.Write(wire.AppendFrame(nil, wire.FrameHello, 0, wire.AppendHello(nil, &h))); err != nil {
		return fmt.Errorf("cannot say hello: %w", err)
	}
	f, err := k.firstFrame()
	if err != nil {
		return err
	}
	switch f.Type {
	case wire.FrameError:
		return refusal(f.Body)
	case wire.FrameHelloAck:
	default:
		return violation("frame type %d in answer to hello", f.Type)
	}
	ack, err := wire.ParseHelloAck(f.Body)
	if err != nil {
		return violation("hello: %v", err)
	}
	if err := k.accept(&ack); err != nil {
		return err
	}
	return k.net.SetDeadline(time.Time{})
}

// accept checks what the node granted. A grant beyond our own limits is cut
// down to them, so that no node can make us hold more.
func (k *conn) accept(ack *wire.HelloAck) error {
	if ack.Version < wire.MinVersion || ack.Version > wire.Version {
		return &wire.Error{Code: wire.CodeVersion, Text: fmt.Sprintf(
			"the node speaks version %d, this client %d to %d", ack.Version, wire.MinVersion, wire.Version)}
	}
	if err := k.client.sameCluster(ack.Cluster); err != nil {
		return err
	}
	k.maxFrame = int(min(ack.MaxFrame, wire.MaxFrameBytes))
	k.limit = int(min(ack.Requests, wire.MaxConnRequests))
	k.limitBytes = int(min(ack.Bytes, wire.MaxConnBytes))
	if k.limit < 1 || k.limitBytes < 4*pingBytes || k.maxFrame < 2*pingBytes {
		return violation("a grant of %d requests, %d bytes, frames of %d bytes carries nothing",
			ack.Requests, ack.Bytes, ack.MaxFrame)
	}
	k.session.Opened()
	return nil
}

// firstFrame reads until one frame is whole.
func (k *conn) firstFrame() (wire.Frame, error) {
	for {
		f, ok, err := k.next()
		if err != nil {
			return f, fmt.Errorf("%w: what answers does not speak as a dnode node; is this the client address of one?", ErrProtocol)
		}
		if ok {
			return f, nil
		}
		if err := k.fill(); err != nil {
			return wire.Frame{}, fmt.Errorf("cannot read the answer to hello: %w; is this the client address of a node?", err)
		}
	}
}

// next takes a frame from the read buffer. Its body is valid until fill.
func (k *conn) next() (wire.Frame, bool, error) {
	f, n, err := k.session.Next(k.buf[k.from:k.to])
	if err != nil || n == 0 {
		return wire.Frame{}, false, err
	}
	k.from += n
	return f, true, nil
}

// fill makes room and reads once. The buffer only grows when it is full of one
// frame's beginning; the session has checked the frame's size against the limit,
// so that it stays below twice that.
func (k *conn) fill() error {
	if k.from == k.to {
		k.from, k.to = 0, 0
		if cap(k.buf) > 16*readBytes {
			k.buf = make([]byte, readBytes)
		}
	}
	if k.from > 0 && len(k.buf)-k.to < len(k.buf)/4 {
		k.to = copy(k.buf, k.buf[k.from:k.to])
		k.from = 0
	}
	if k.to == len(k.buf) {
		grown := make([]byte, max(k.session.Need(), 2*len(k.buf)))
		copy(grown, k.buf[:k.to])
		k.buf = grown
	}
	n, err := k.read(k.buf[k.to:])
	k.to += n
	if n > 0 {
		return nil // an error will come again
	}
	if errors.Is(err, io.EOF) {
		return errors.New("the node closed the connection")
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return fmt.Errorf("connection lost: %w", err)
}

func (k *conn) read(b []byte) (int, error) {
	if k.socket != nil {
		return k.socket.read(b)
	}
	return k.net.Read(b)
}

// readLoop matches answers to calls until the connection ends. All frames of
// one read are taken under one lock; the calls that end are told after it.
func (k *conn) readLoop() {
	c := k.client
	for {
		err := k.fill()
		c.mu.Lock()
		if err == nil {
			k.heard()
			k.corked = true
			err = k.takeFrames()
		}
		if err != nil {
			c.lost(k, err)
			c.unlock()
			return
		}
		k.admit()
		c.unlock() // completions may append more
		c.mu.Lock()
		k.corked = false
		k.flush()
		c.unlock()
	}
}

func (k *conn) takeFrames() error {
	for !k.dead {
		f, ok, err := k.next()
		if err != nil || !ok {
			return err
		}
		if err := k.answer(f); err != nil {
			return err
		}
	}
	return nil
}

// answer gives one frame to the call that waits for it. An answer that nobody
// can be waiting for is a fault of the node, and the end of the connection:
// what else it says cannot be trusted either.
func (k *conn) answer(f wire.Frame) error {
	if f.Type == wire.FrameError && f.ID == 0 {
		return refusal(f.Body)
	}
	number, generation := uint32(f.ID), uint32(f.ID>>32)
	if int64(number) >= int64(len(k.slots)) {
		return violation("an answer to a request that was never made")
	}
	s := &k.slots[number]
	if !s.used || s.generation != generation {
		return violation("a second answer to one request")
	}
	if s.end > k.taken {
		return violation("an answer to a request that was not sent yet")
	}
	if f.Type != wire.FrameError && f.Type != s.frame+1 {
		return violation("answer of type %d to a request of type %d", f.Type, s.frame)
	}
	q := s.call
	k.release(number)
	k.answered, k.node.failures = true, 0
	if q == nil {
		return nil // the caller has given up
	}
	if f.Type != wire.FrameError {
		if q.target == toLeader {
			k.client.probeRound, k.node.trouble = 0, nil
		}
		k.client.finish(q, f.Body, nil)
		return nil
	}
	e, err := wire.ParseError(f.Body)
	if err != nil {
		k.client.failed(q, failure{stage: StageLost, err: err})
		return violation("error frame: %v", err)
	}
	k.client.failed(q, failure{
		stage: StageAnswered, code: e.Code, leader: e.Leader, err: e,
		retryAfter: time.Duration(e.RetryAfterMs) * time.Millisecond,
	})
	return nil
}

// heard notes a sign of life.
func (k *conn) heard() {
	now := k.client.now()
	k.lastHeard, k.client.clock = now, now
	k.suspect = false
}

// admit sends what is in line at the node as far as the credits reach.
func (k *conn) admit() {
	n := k.node
	for q := n.queue.first; q != nil && !k.dead; q = n.queue.first {
		size := wire.FrameHeaderBytes + len(q.body)
		if size > k.maxFrame || size > k.limitBytes-pingBytes {
			n.queue.remove(q)
			k.client.failed(q, failure{stage: StageAnswered, code: wire.CodeTooLarge, err: fmt.Errorf(
				"a request of %d bytes, the node takes at most %d", size, min(k.maxFrame, k.limitBytes-pingBytes))})
			continue
		}
		if k.inFlight >= max(k.limit-1, 1) || k.bytes+size > k.limitBytes-pingBytes {
			return
		}
		n.queue.remove(q)
		k.send(q, size)
	}
}

// send gives a call a slot and appends its frame to what is pending.
func (k *conn) send(q *call, size int) {
	if k.free == 0 {
		k.slots = append(k.slots, slot{generation: 0, next: 0})
		k.free = len(k.slots)
	}
	number := uint32(k.free - 1)
	s := &k.slots[number]
	k.free = s.next
	if k.inFlight == 0 {
		k.busySince = k.client.recently()
	}
	k.inFlight++
	k.bytes += size
	k.appended += uint64(size)
	generation := s.generation + 1
	*s = slot{generation: generation, used: true, call: q, frame: q.frame, bytes: size, end: k.appended}
	q.phase, q.slot = phaseSent, number
	k.pending = wire.AppendFrame(k.pending, q.frame, uint64(generation)<<32|uint64(number), q.body)
	if !k.corked {
		k.arrange()
	}
}

// release returns a slot and its credits.
func (k *conn) release(number uint32) {
	s := &k.slots[number]
	k.inFlight--
	k.bytes -= s.bytes
	s.used, s.call = false, nil
	s.next = k.free
	k.free = int(number) + 1
	if k.inFlight == 0 {
		k.pinged = false
	}
}

// violation is an answer that breaks the protocol.
func violation(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}

// refusal decodes the error frame by which a node ends a connection.
func refusal(body []byte) error {
	e, err := wire.ParseError(body)
	if err != nil {
		return violation("error frame: %v", err)
	}
	return fmt.Errorf("the node refused: %w", e)
}
