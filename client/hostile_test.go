package client

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dnode-engine/dnode/wire"
)

// hostile opens a client whose node says what the test wants: first a good
// hello, then answer(request) for each request. It returns what the calls get.
func hostile(t testing.TB, answer func(f wire.Frame) []byte, call func(ctx context.Context, c *Client) error) error {
	t.Helper()
	node, stop := context.WithCancel(context.Background())
	defer stop()
	c, err := Open(t.Context(), Config{
		Endpoints: []string{"n1:1"},
		Dial: func(context.Context, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			context.AfterFunc(node, func() { theirs.Close() })
			go serveHostile(theirs, answer)
			return ours, nil
		},
	})
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	return call(ctx, c)
}

func serveHostile(nc net.Conn, answer func(f wire.Frame) []byte) {
	defer nc.Close()
	out := make(chan []byte, 100)
	defer close(out)
	go func() {
		for b := range out {
			_, _ = nc.Write(b)
		}
	}()
	var buf []byte
	chunk := make([]byte, 4096)
	for {
		n, err := nc.Read(chunk)
		if err != nil {
			return
		}
		buf = append(buf, chunk[:n]...)
		for {
			f, err := wire.ParseFrame(buf, wire.MaxFrameBytes)
			if err != nil {
				break
			}
			b := answer(f)
			if f.Type == wire.FrameHello && b == nil {
				ack := wire.HelloAck{Version: 1, Name: "n1", MaxFrame: wire.MaxFrameBytes, Requests: 100, Bytes: 1 << 20}
				b = wire.AppendFrame(nil, wire.FrameHelloAck, 0, wire.AppendHelloAck(nil, &ack))
			}
			out <- b
			buf = buf[f.Size:]
		}
	}
}

// leaderStatus answers a status request: this node leads.
func leaderStatus(f wire.Frame) []byte {
	st := wire.NodeStatus{Name: "n1", ID: 1, Role: wire.RoleLeader, State: wire.StateOK, Term: 1, Leader: 1}
	return wire.AppendFrame(nil, wire.FrameStatusReply, f.ID, wire.AppendStatus(nil, &st))
}

// Answers that break the protocol end in typed errors: a read was not
// answered, a write may have been carried out.
func TestProtocolViolations(t *testing.T) {
	ok := wire.AppendReplyHeader(nil, 9)
	f := func(name string, reply func(f wire.Frame) []byte) {
		t.Run(name, func(t *testing.T) {
			answer := func(f wire.Frame) []byte {
				switch f.Type {
				case wire.FrameHello:
					return nil
				case wire.FrameStatus:
					return leaderStatus(f)
				}
				return reply(f)
			}
			err := hostile(t, answer, func(ctx context.Context, c *Client) error {
				_, err := c.Get(ctx, "k")
				return err
			})
			if !errors.Is(err, ErrProtocol) && !errors.Is(err, ErrUnavailable) || OutcomeUnknown(err) {
				t.Errorf("get: %v", err)
			}
			err = hostile(t, answer, func(ctx context.Context, c *Client) error {
				_, err := c.Put(ctx, "k", nil)
				return err
			})
			if !OutcomeUnknown(err) {
				t.Errorf("put: %v", err)
			}
		})
	}
	frame := func(id uint64, t wire.FrameType, body []byte) []byte { return wire.AppendFrame(nil, t, id, body) }
	f("unknown id", func(f wire.Frame) []byte { return frame(f.ID+1, f.Type+1, append(ok, 0)) })
	f("old generation", func(f wire.Frame) []byte { return frame(f.ID-1<<32, f.Type+1, append(ok, 0)) })
	f("wrong type", func(f wire.Frame) []byte { return frame(f.ID, wire.FrameStatusReply, append(ok, 0)) })
	f("peer frame", func(f wire.Frame) []byte { return frame(f.ID, wire.FrameAppend, nil) })
	f("empty body", func(f wire.Frame) []byte { return frame(f.ID, f.Type+1, nil) })
	f("no status", func(f wire.Frame) []byte { return frame(f.ID, f.Type+1, ok) })
	f("unknown status", func(f wire.Frame) []byte { return frame(f.ID, f.Type+1, append(ok, 77)) })
	f("bad error", func(f wire.Frame) []byte { return frame(f.ID, wire.FrameError, []byte{1}) })
	f("connection error", func(f wire.Frame) []byte {
		return wire.AppendErrorFrame(nil, 0, &wire.Error{Code: wire.CodeSlowReader})
	})
	f("flipped bit", func(f wire.Frame) []byte {
		b := frame(f.ID, f.Type+1, append(ok, 0))
		b[len(b)-1] ^= 1
		return b
	})
	f("huge frame", func(f wire.Frame) []byte {
		b := frame(f.ID, f.Type+1, ok)
		binary.LittleEndian.PutUint32(b, 1<<31)
		binary.LittleEndian.PutUint32(b[20:], wire.Checksum(b[:20]))
		return b
	})
	f("not our protocol", func(wire.Frame) []byte { return []byte("HTTP/1.1 400 Bad Request\r\n\r\n") })
}

// The second of two equal answers ends the connection, and completes nothing.
func TestDuplicateAnswer(t *testing.T) {
	nw := newNetwork(t, "n1:1")
	c := nw.open(t, "n1:1")
	nw.nodes["n1:1"].setScript(func(p *link, f wire.Frame) bool {
		if f.Type != wire.FrameWrite || f.Body[len(f.Body)-1] != '1' {
			return false
		}
		b := nw.store.answer(f)
		p.send(b)
		p.send(b)
		return true
	})
	if _, err := c.Put(t.Context(), "k", []byte("1")); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		// The connection may end under the first of these, which says so.
		if _, err := c.Put(t.Context(), "k", []byte("2")); err != nil && !OutcomeUnknown(err) {
			t.Fatal(err)
		}
	}
	if n := nw.nodes["n1:1"].dialed(); n != 2 {
		t.Errorf("dialed %d times, want 2", n)
	}
}

// A get whose answer holds another key is refused.
func TestAnswerForAnotherKey(t *testing.T) {
	err := hostile(t, func(f wire.Frame) []byte {
		switch f.Type {
		case wire.FrameStatus:
			return leaderStatus(f)
		case wire.FrameRead:
			body := append(wire.AppendReplyHeader(nil, 9), byte(wire.StatusOK))
			return wire.AppendFrame(nil, wire.FrameReadReply, f.ID, wire.AppendItem(body, wire.Item{Key: []byte("other"), ModRevision: 1}))
		}
		return nil
	}, func(ctx context.Context, c *Client) error {
		_, err := c.Get(ctx, "key")
		return err
	})
	if !errors.Is(err, ErrProtocol) {
		t.Errorf("get: %v", err)
	}
}

// hostileBytes is a node that answers with bytes of the fuzzer's: how stands in
// modes, used over and over. It knows which writes reached it, and which of
// them it has properly refused.
type hostileBytes struct {
	mu       sync.Mutex
	modes    []byte
	data     []byte
	frames   int
	reached  map[string]int  // writes by key, but for those properly refused
	answered map[string]bool // writes by key, by an answer of their type
}

func (h *hostileBytes) answer(f wire.Frame) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	mode := h.modes[h.frames%len(h.modes)] % 10
	h.frames++
	b := h.say(f, mode)
	if f.Type != wire.FrameWrite {
		return b
	}
	carriedOut := true
	for rest := b; ; {
		a, err := wire.ParseFrame(rest, wire.MaxFrameBytes)
		if err != nil {
			break
		}
		rest = rest[a.Size:]
		if a.ID == f.ID {
			carriedOut = !refuses(a)
			h.answered[keyOf(f)] = h.answered[keyOf(f)] || a.Type == wire.FrameWriteReply
			break
		}
	}
	if carriedOut {
		h.reached[keyOf(f)]++
	}
	return b
}

// refuses reports whether the answer to a write says, as it should be said,
// that it was not carried out.
func refuses(f wire.Frame) bool {
	if e, err := wire.ParseError(f.Body); f.Type == wire.FrameError && err == nil {
		return e.Code.NotCarriedOut()
	}
	_, result, err := wire.ParseReply(f.Body)
	return f.Type == wire.FrameWriteReply && err == nil && len(result) == 3 && wire.Status(result[0]) == wire.StatusRefused && result[1]|result[2] != 0
}

func (h *hostileBytes) say(f wire.Frame, mode byte) []byte {
	status := f.Type == wire.FrameStatus
	switch {
	case mode == 0:
		return append([]byte{}, h.data...)
	case f.Type == wire.FrameHello && mode == 1:
		return wire.AppendFrame(nil, wire.FrameHelloAck, 0, h.data)
	case f.Type == wire.FrameHello:
		return nil // a good one
	case status && mode != 2 && mode < 7:
		return leaderStatus(f)
	case mode == 4:
		return wire.AppendFrame(nil, wire.FrameError, f.ID, h.data)
	case mode == 5: // behind a header that promises more
		b := wire.AppendFrame(nil, f.Type+1, f.ID, h.data)
		binary.LittleEndian.PutUint32(b, 1<<20)
		binary.LittleEndian.PutUint32(b[20:], wire.Checksum(b[:20]))
		return b
	case mode == 6: // two in one, the second to nobody
		return wire.AppendFrame(wire.AppendFrame(nil, f.Type+1, f.ID, h.data), f.Type+1, f.ID+1, h.data)
	case mode == 7:
		return []byte{}
	case mode == 9 && len(h.data) > 0: // of another type
		return wire.AppendFrame(nil, wire.FrameType(h.data[0]), f.ID, h.data[1:])
	case mode == 8: // the connection is over
		return wire.AppendFrame(nil, wire.FrameError, 0, h.data)
	default:
		return wire.AppendFrame(nil, f.Type+1, f.ID, h.data)
	}
}

// honestly checks how a write ended.
func (h *hostileBytes) honestly(t *testing.T, key string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if (err == nil || errors.Is(err, ErrConditionFailed)) && !h.answered[key] {
		t.Errorf("%s was not answered, and ended with %v", key, err)
	}
	if n := h.reached[key]; n > 0 && err != nil && !OutcomeUnknown(err) && !errors.Is(err, ErrConditionFailed) || n > 1 {
		t.Errorf("%s was sent %d times without being refused, and ended with %v", key, n, err)
	}
}

// FuzzHostileServer lets a node answer with any bytes at all, raw or as bodies
// in well-formed frames: nothing panics, hangs or is left behind, no call
// succeeds with what was not an answer to it, and no write that may have been
// carried out is called failed.
func FuzzHostileServer(f *testing.F) {
	ack := wire.AppendHelloAck(nil, &wire.HelloAck{Version: 1, MaxFrame: 1 << 20, Requests: 4, Bytes: 1 << 20})
	item := wire.AppendItem([]byte{9, 0, 0, 0, 0, 0, 0, 0, 0}, wire.Item{Key: []byte("k"), Value: []byte("v"), ModRevision: 3})
	f.Add([]byte{0}, []byte("hello"))
	f.Add([]byte{0}, wire.AppendFrame(nil, wire.FrameHelloAck, 0, ack))
	f.Add([]byte{3, 0}, wire.AppendFrame(nil, wire.FrameWriteReply, 1<<32, item))
	f.Add([]byte{1}, ack)
	f.Add([]byte{2}, wire.AppendStatus(nil, &wire.NodeStatus{Role: 1, State: 1, Leader: 2, Members: []wire.Member{
		{ID: 2, Name: "n2", Role: wire.Voter, PeerAddr: "a:1", ClientAddr: "b:1"},
	}}))
	f.Add([]byte{3}, item)
	f.Add([]byte{3}, append(wire.AppendReplyHeader(nil, 9), 0, 1, 1, 0, 0, 0))
	f.Add([]byte{3, 5, 3, 6, 3, 7}, append(wire.AppendReplyHeader(nil, 9), 2, 1))
	refusal := wire.AppendError(nil, &wire.Error{Code: wire.CodeNotLeader, Leader: "x:1"})
	f.Add([]byte{4}, refusal)
	f.Add([]byte{3, 3, 8, 4, 7}, refusal)
	f.Add([]byte{4, 3}, wire.AppendError(nil, &wire.Error{Code: wire.CodeBusy, RetryAfterMs: 1 << 31}))
	f.Add([]byte{9}, append([]byte{byte(wire.FrameReadReply), 9, 0, 0, 0, 0, 0, 0, 0}, 0))
	f.Add([]byte{3, 4}, wire.AppendError(nil, &wire.Error{Code: wire.CodeUnknown}))
	f.Fuzz(func(t *testing.T, modes, data []byte) {
		if len(modes) == 0 {
			return
		}
		synctest.Test(t, func(t *testing.T) { // a second of waiting costs nothing in here
			underBytes(t, &hostileBytes{modes: modes, data: data, reached: make(map[string]int), answered: make(map[string]bool)})
		})
	})
}

// underBytes makes a call of each kind.
func underBytes(t *testing.T, h *hostileBytes) {
	life, stop := context.WithCancel(context.Background())
	defer stop()
	ctx, cancel := context.WithTimeout(life, time.Second)
	defer cancel()
	c, err := Open(ctx, Config{Endpoints: []string{"n1:1"}, Dial: func(context.Context, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		context.AfterFunc(life, func() { theirs.Close() })
		go serveHostile(theirs, h.answer)
		return ours, nil
	}})
	if err != nil {
		return
	}
	defer c.Close()
	_, err = c.Put(ctx, "k", nil)
	h.honestly(t, "k", err)
	_, err = c.CompareAndSet(ctx, "l", Absent(), nil)
	h.honestly(t, "l", err)
	var b Batch
	b.Delete("m")
	_, err = c.Batch(ctx, &b)
	h.honestly(t, "m", err)
	_, _ = c.ScanPage(ctx, Range{})
	_, _ = c.Count(ctx, Range{})
	_, _ = c.Status(ctx, "")
	it, err := c.Get(ctx, "k")
	if err == nil && it.Key != "k" || OutcomeUnknown(err) {
		t.Errorf("get k: %q, %v", it.Key, err)
	}
	if _, err = c.Get(ctx, "a key that no answer can hold: it is far too unlikely"); err == nil || OutcomeUnknown(err) {
		t.Errorf("a get of a key that is not in the answer: %v", err)
	}
	nothingHeld(t, c)
}

// Invented leaders do not fill the client's memory, nor make it dial all of
// them.
func TestInventedLeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := newNetwork(t, "n1:1")
		c := nw.open(t, "n1:1")
		n := 0
		nw.nodes["n1:1"].setScript(func(p *link, f wire.Frame) bool {
			if f.Type != wire.FrameWrite {
				return false
			}
			n++
			p.fail(f, &wire.Error{Code: wire.CodeNotLeader, Leader: fmt.Sprintf("invented:%d", n)})
			return true
		})
		ended := make(chan error)
		for range 1000 {
			go func() {
				_, err := c.Put(t.Context(), "k", nil)
				ended <- err
			}()
		}
		for range 1000 {
			if err := <-ended; !SafeToRetry(err) {
				t.Error(err)
			}
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if n < 1000 || len(c.nodes) > len(c.ring)+maxNodes {
			t.Errorf("%d nodes are remembered after %d inventions", len(c.nodes), n)
		}
	})
}

// Pages that do not lead on end a scan instead of keeping it for ever.
func TestScanInACircle(t *testing.T) {
	item := wire.AppendItem(nil, wire.Item{Key: []byte("k"), ModRevision: 1})
	err := hostile(t, func(f wire.Frame) []byte {
		switch f.Type {
		case wire.FrameStatus:
			return leaderStatus(f)
		case wire.FrameRead:
			body := append(wire.AppendReplyHeader(nil, 9), byte(wire.StatusOK), 1, 1, 0, 0, 0)
			return wire.AppendFrame(nil, wire.FrameReadReply, f.ID, append(body, item...))
		}
		return nil
	}, func(ctx context.Context, c *Client) error {
		seen := 0
		for _, err := range c.Scan(ctx, Range{}) {
			if err != nil {
				return err
			}
			if seen++; seen > 1 {
				t.Error("one key came twice")
			}
		}
		return nil
	})
	if !errors.Is(err, ErrProtocol) {
		t.Errorf("scan: %v", err)
	}
}
