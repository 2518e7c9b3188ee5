package client

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dnode-engine/dnode/wire"
)

// A hundred thousand callers while nobody leads: as many as the bound wait, the
// others are told at once, and all that wait are served once somebody leads.
func TestManyCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := newNetwork(t, "n1:1")
		nw.lead("")
		c := nw.open(t, "n1:1")
		const callers = 100_000
		var refused, served, other atomic.Int64
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				switch _, err := c.Put(t.Context(), "k", nil); {
				case err == nil:
					served.Add(1)
				case errors.Is(err, ErrBusy) && SafeToRetry(err):
					refused.Add(1)
				default:
					other.Add(1)
				}
			})
		}
		synctest.Wait()
		if n := refused.Load(); n != callers-defaultMaxPending {
			t.Errorf("%d of %d callers were refused", n, callers)
		}
		nw.lead("n1:1")
		wg.Wait()
		if served.Load() != defaultMaxPending || other.Load() != 0 || nw.written() != defaultMaxPending {
			t.Errorf("%d served, %d others, %d written", served.Load(), other.Load(), nw.written())
		}
		if c.pending != 0 || c.heldBytes != 0 {
			t.Errorf("%d calls and %d bytes are still counted", c.pending, c.heldBytes)
		}
	})
}

// Large requests are refused long before there are many.
func TestManyBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := newNetwork(t, "n1:1")
		nw.lead("")
		c := nw.open(t, "n1:1")
		const callers, size = 300, 1_000_000
		value := make([]byte, size)
		accepted := 0
		for range callers {
			err := c.PutAsync(t.Context(), "k", value, func(Revision, error) {})
			if err == nil {
				accepted++
			} else if !errors.Is(err, ErrBusy) {
				t.Fatal(err)
			}
		}
		if want := maxHeldBytes / size; accepted < want-1 || accepted > want {
			t.Errorf("%d requests were accepted, want %d", accepted, want)
		}
		if _, err := c.Get(t.Context(), "k", ReadOptions{Consistency: Stale}); !errors.Is(err, ErrNotFound) {
			t.Errorf("a small request beside them: %v", err)
		}
	})
}

// However many callers wait, and whatever an endpoint does, it is dialed a
// bounded number of times.
func TestDialsPerSecond(t *testing.T) {
	const seconds, callers = 10, 500
	f := func(name string, most int, conn func(ours, theirs net.Conn) net.Conn) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			nw := newNetwork(t, "n1:1")
			nw.lead("")
			dials := 0
			c, err := Open(t.Context(), Config{Endpoints: []string{"bad:1", "n1:1"}, Dial: func(ctx context.Context, addr string) (net.Conn, error) {
				if addr == "n1:1" {
					return nw.dial(ctx, addr)
				}
				dials++
				if conn == nil {
					return nil, errors.New("connection refused")
				}
				return conn(net.Pipe()), nil
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			ctx, cancel := context.WithTimeout(t.Context(), seconds*time.Second)
			defer cancel()
			var wg sync.WaitGroup
			for i := range callers {
				wg.Go(func() {
					var err error
					switch i % 3 {
					case 0:
						_, err = c.Put(ctx, "k", nil)
					case 1:
						_, err = c.Get(ctx, "k")
					case 2:
						_, err = c.Get(ctx, "k", ReadOptions{Consistency: Stale, Endpoint: "bad:1"})
					}
					if !errors.Is(err, ErrUnavailable) {
						t.Errorf("%s: %v", name, err)
					}
				})
			}
			wg.Wait()
			if dials > most || dials < 1 {
				t.Errorf("%s: dialed %d times in %d s", name, dials, seconds)
			}
		})
	}
	hangsUp := func(after []byte, answers int) func(ours, theirs net.Conn) net.Conn {
		return func(ours, theirs net.Conn) net.Conn {
			go func() {
				defer theirs.Close()
				b := make([]byte, 1<<16)
				if _, err := theirs.Read(b); err == nil {
					_, _ = theirs.Write(after)
				}
				for range answers {
					_, _ = theirs.Read(b)
				}
			}()
			return ours
		}
	}
	ack := wire.HelloAck{Version: wire.Version, Name: "bad", MaxFrame: wire.MaxFrameBytes, Requests: 100, Bytes: 1 << 20}
	hello := wire.AppendFrame(nil, wire.FrameHelloAck, 0, wire.AppendHelloAck(nil, &ack))
	f("refused", 40, nil)
	f("hangs up", 40, hangsUp(nil, 0))
	f("hangs up after hello", 40, hangsUp(hello, 0))
	f("hangs up after a request", 40, hangsUp(hello, 1))
}

// A node's advice is the least that a refused call waits; then it is random, so
// that not all come at once. A call that was refused for want of room until its
// time was over ends as busy.
func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const advice = 300 * time.Millisecond
		nw := newNetwork(t, "n1:1")
		c := nw.open(t, "n1:1")
		var mu sync.Mutex
		var at []time.Time
		nw.nodes["n1:1"].setScript(func(p *link, f wire.Frame) bool {
			if f.Type != wire.FrameWrite {
				return false
			}
			mu.Lock()
			at = append(at, time.Now())
			mu.Unlock()
			p.fail(f, &wire.Error{Code: wire.CodeBusy, RetryAfterMs: uint32(advice / time.Millisecond)})
			return true
		})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := c.Put(ctx, "k", nil)
		if !errors.Is(err, ErrBusy) || !errors.Is(err, context.DeadlineExceeded) || !SafeToRetry(err) {
			t.Errorf("got %v", err)
		}
		for i := 1; i < len(at); i++ {
			if wait := at[i].Sub(at[i-1]); wait < advice {
				t.Errorf("asked again after %v", wait)
			}
		}
		if len(at) < 4 {
			t.Errorf("asked %d times", len(at))
		}
		at = nil
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 4*advice)
				defer cancel()
				_, _ = c.Put(ctx, "k", nil)
			})
		}
		wg.Wait()
		same := map[time.Time]int{}
		for _, when := range at {
			same[when]++
		}
		most := 0
		for when, n := range same {
			if when.After(at[0]) {
				most = max(most, n)
			}
		}
		if most > 10 {
			t.Errorf("%d of 200 callers came again at one moment", most)
		}
	})
}

// An endpoint that was named for a call and will never serve it ends the call
// at once, though others go on.
func TestNamedEndpointRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := newNetwork(t, "n1:1", "n2:1")
		c := nw.open(t, "n1:1")
		nw.nodes["n2:1"].refuse = &wire.Error{Code: wire.CodeUnexpected, Text: "this is the peer port"}
		begin := time.Now()
		_, err := c.Status(t.Context(), "n2:1")
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "this is the peer port") {
			t.Errorf("status: %v", err)
		}
		_, err = c.Get(t.Context(), "k", ReadOptions{Consistency: Stale, Endpoint: "n2:1"})
		if !errors.Is(err, ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > time.Second {
			t.Errorf("stale read: %v after %v", err, time.Since(begin))
		}
	})
}

// A way to the only node that takes longer than it takes to call the node silent
// is slow, not closed: reads and writes are served.
func TestLongWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := newNetwork(t, "n1:1")
		nw.nodes["n1:1"].setScript(func(p *link, f wire.Frame) bool {
			f = cloneFrame(f)
			st := nw.nodes["n1:1"].status
			time.AfterFunc(1500*time.Millisecond, func() {
				if f.Type == wire.FrameStatus {
					p.send(wire.AppendFrame(nil, wire.FrameStatusReply, f.ID, wire.AppendStatus(nil, &st)))
				} else {
					p.send(nw.store.answer(f))
				}
			})
			return true
		})
		c := nw.open(t, "n1:1")
		for range 3 {
			if _, err := c.Put(t.Context(), "k", []byte("v")); err != nil {
				t.Errorf("put: %v", err)
			}
			if it, err := c.Get(t.Context(), "k"); err != nil || string(it.Value) != "v" {
				t.Errorf("get: %q, %v", it.Value, err)
			}
		}
		if nw.written() != 3 {
			t.Errorf("%d writes were carried out, want 3", nw.written())
		}
	})
}

// A leader that a node names and that belongs to another cluster gets no
// request, and the outcome is known.
func TestHintToAnotherCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := newNetwork(t, "n1:1")
		other := newNetwork(t, "evil:1")
		nw.nodes["n1:1"].ack.Cluster = wire.ClusterID{1}
		other.nodes["evil:1"].ack.Cluster = wire.ClusterID{2}
		nw.nodes["n1:1"].setScript(func(p *link, f wire.Frame) bool {
			if f.Type == wire.FrameWrite {
				p.fail(f, &wire.Error{Code: wire.CodeNotLeader, Leader: "evil:1"})
			}
			return f.Type == wire.FrameWrite
		})
		c, err := Open(t.Context(), Config{Endpoints: []string{"n1:1"}, Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			if addr == "evil:1" {
				return other.dial(ctx, addr)
			}
			return nw.dial(ctx, addr)
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := c.Put(ctx, "k", nil); !errors.Is(err, ErrUnavailable) || OutcomeUnknown(err) {
			t.Errorf("got %v", err)
		}
		if n := other.nodes["evil:1"].dialed(); other.written() != 0 || n < 1 || n > 20 {
			t.Errorf("%d writes over %d connections to another cluster", other.written(), n)
		}
	})
}

// stuckConn is a connection whose writes hang from the second on.
type stuckConn struct {
	net.Conn
	writes  atomic.Int64
	stuck   chan struct{}
	entered chan struct{}
}

func (s *stuckConn) Write(b []byte) (int, error) {
	if s.writes.Add(1) > 2 {
		select {
		case s.entered <- struct{}{}:
		default:
		}
		<-s.stuck
		return 0, net.ErrClosed
	}
	return s.Conn.Write(b)
}

func (s *stuckConn) Close() error {
	if s.writes.Swap(100) < 100 {
		close(s.stuck)
	}
	return s.Conn.Close()
}

// What was surely not sent when the client is closed is not called unknown.
func TestCloseBeforeSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := newNetwork(t, "n1:1")
		c, err := Open(t.Context(), Config{Endpoints: []string{"n1:1"}, Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			nc, err := nw.dial(ctx, addr)
			return &stuckConn{Conn: nc, stuck: make(chan struct{}), entered: make(chan struct{}, 1)}, err
		}})
		if err != nil {
			t.Fatal(err)
		}
		ends := make([]error, 2)
		var wg sync.WaitGroup
		for i := range ends {
			wg.Go(func() { _, ends[i] = c.Put(t.Context(), "k", nil) })
			synctest.Wait() // the first is being written, the second waits for that
		}
		c.Close()
		wg.Wait()
		if !OutcomeUnknown(ends[0]) || !errors.Is(ends[1], ErrClosed) || OutcomeUnknown(ends[1]) {
			t.Errorf("the write begun: %v; the write not begun: %v", ends[0], ends[1])
		}
	})
}
