package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dnode-engine/dnode/wire"
)

type netConn = net.Conn

func newPipe() (net.Conn, net.Conn) { return net.Pipe() }

func discard(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// A connection that the node closed while it was idle is opened anew; nobody
// notices.
func TestIdleConnectionClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := newNetwork(t, "n1:1")
		c := nw.open(t, "n1:1")
		for i := range 5 {
			if _, err := c.Put(t.Context(), "k", nil); err != nil {
				t.Fatalf("round %d: %v", i, err)
			}
			nw.nodes["n1:1"].cut()
			synctest.Wait()
		}
		if nw.written() != 5 {
			t.Errorf("%d writes, want 5", nw.written())
		}
	})
}

// A connection that dies under a write leaves the outcome unknown; a read is
// asked again.
func TestConnectionLostAfterSend(t *testing.T) {
	f := func(name string, carriedOut bool) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nw := newNetwork(t, "n1:1")
				c := nw.open(t, "n1:1")
				lost := 0
				nw.nodes["n1:1"].setScript(func(p *link, f wire.Frame) bool {
					if f.Type == wire.FrameStatus || f.Type == wire.FrameRead && lost == 2 {
						return false
					}
					lost++
					if carriedOut && f.Type == wire.FrameWrite {
						nw.store.answer(f)
					}
					p.net.Close()
					return true
				})
				_, err := c.Put(t.Context(), "k", nil)
				if !OutcomeUnknown(err) || SafeToRetry(err) {
					t.Errorf("put: %v", err)
				}
				var e *Error
				if !errors.As(err, &e) || e.Attempts != 1 || e.Endpoint != "n1:1" {
					t.Errorf("put: %#v", e)
				}
				if _, err = c.Get(t.Context(), "k"); carriedOut && err != nil || !carriedOut && !errors.Is(err, ErrNotFound) {
					t.Errorf("get: %v", err)
				}
				if want := map[bool]int{true: 1}[carriedOut]; nw.written() != want || lost != 2 {
					t.Errorf("%d writes, %d connections lost", nw.written(), lost)
				}
			})
		})
	}
	f("not carried out", false)
	f("carried out", true)
}

// A late answer to a call that has given up goes nowhere, and its credit is
// taken until it comes.
func TestLateReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := newNetwork(t, "n1:1")
		nw.nodes["n1:1"].ack.Requests = 3
		c := nw.open(t, "n1:1")
		var held []wire.Frame
		var from *link
		nw.nodes["n1:1"].setScript(func(p *link, f wire.Frame) bool {
			if f.Type == wire.FrameWrite && len(held) < 2 {
				from, held = p, append(held, cloneFrame(f))
				return true
			}
			return false
		})
		for i := range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			_, err := c.Put(ctx, fmt.Sprintf("late%d", i), []byte("late"))
			cancel()
			if !OutcomeUnknown(err) || !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("put: %v", err)
			}
		}
		// Both credits that are not kept for signs of life are out now.
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		_, err := c.Put(ctx, "k", nil)
		cancel()
		if OutcomeUnknown(err) || !SafeToRetry(err) {
			t.Fatalf("put without credit: %v", err)
		}
		waiting := make(chan error)
		go func() {
			_, err := c.Put(t.Context(), "k", []byte("v"))
			waiting <- err
		}()
		synctest.Wait()
		for _, f := range held {
			from.send(nw.store.answer(f))
		}
		if err := <-waiting; err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"late0", "k", "late1"} {
			it, err := c.Get(t.Context(), key)
			if want := key[:1]; err != nil || it.Value[0] != want[0] && key != "k" {
				t.Errorf("%s: %q, %v", key, it.Value, err)
			}
		}
		if n := nw.nodes["n1:1"].dialed(); n != 1 {
			t.Errorf("dialed %d times", n)
		}
	})
}

func cloneFrame(f wire.Frame) wire.Frame {
	f.Body = append([]byte(nil), f.Body...)
	return f
}

// Answers in any order reach their own calls.
func TestRepliesOutOfOrder(t *testing.T) {
	nw := newNetwork(t, "n1:1")
	c := nw.open(t, "n1:1")
	const n = 50
	var b Batch
	for i := range n {
		b.Put(fmt.Sprint(i), fmt.Append(nil, i))
	}
	if _, err := c.Batch(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	var held []wire.Frame
	nw.nodes["n1:1"].setScript(func(p *link, f wire.Frame) bool {
		if f.Type != wire.FrameRead {
			return false
		}
		if held = append(held, cloneFrame(f)); len(held) == n {
			for _, i := range rand.Perm(n) {
				p.send(nw.store.answer(held[i]))
			}
			held = nil
		}
		return true
	})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for range 20 {
				it, err := c.Get(t.Context(), fmt.Sprint(i))
				if err != nil || string(it.Value) != fmt.Sprint(i) {
					t.Errorf("%d: %q, %v", i, it.Value, err)
				}
			}
		})
	}
	wg.Wait()
}

// Never is more in flight than was granted: the node's session would end the
// connection. Many callers share few credits, all are used, all are served.
func TestCredits(t *testing.T) {
	f := func(requests, bytes uint32, most int) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			nw := newNetwork(t, "n1:1")
			s := nw.nodes["n1:1"]
			s.ack.Requests, s.ack.Bytes = requests, bytes
			seen := 0
			s.setScript(func(p *link, f wire.Frame) bool {
				if f.Type == wire.FrameStatus {
					return false
				}
				seen = max(seen, p.most)
				f = cloneFrame(f)
				time.AfterFunc(time.Millisecond, func() { p.send(nw.store.answer(f)) })
				return true
			})
			c := nw.open(t, "n1:1")
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() {
					for range 10 {
						if _, err := c.Put(t.Context(), "k", make([]byte, 100)); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			if nw.written() != 500 || s.dialed() != 1 || seen != most {
				t.Errorf("%d writes over %d connections, %d at once, want %d", nw.written(), s.dialed(), seen, most)
			}
		})
	}
	f(1, 1<<20, 1)
	f(8, 1<<20, 7) // one is kept for signs of life
	f(1000, 1000, 6)
}

// What was still in the buffer when the connection died was not sent: it is
// asked again, also if it is a write.
func TestPendingWhenConnectionDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := newNetwork(t, "n1:1")
		c := nw.open(t, "n1:1")
		stuck := make(chan bool)
		first := true
		nw.nodes["n1:1"].setScript(func(p *link, f wire.Frame) bool {
			if f.Type != wire.FrameWrite || !first {
				return false
			}
			first = false
			<-stuck // the node reads nothing more
			return true
		})
		ends := make([]chan error, 3)
		for i := range ends {
			ends[i] = make(chan error, 1)
			go func() {
				_, err := c.Put(t.Context(), "k", nil)
				ends[i] <- err
			}()
			synctest.Wait()
		}
		nw.nodes["n1:1"].cut()
		close(stuck)
		if err := <-ends[0]; !OutcomeUnknown(err) {
			t.Errorf("the write that arrived: %v", err)
		}
		if err := <-ends[1]; err != nil && !OutcomeUnknown(err) {
			t.Errorf("the write that was being sent: %v", err)
		}
		if err := <-ends[2]; err != nil {
			t.Errorf("the write that was not sent: %v", err)
		}
	})
}

// A request larger than the node's grant fails, and does not block the line.
func TestLargerThanGrant(t *testing.T) {
	nw := newNetwork(t, "n1:1")
	nw.nodes["n1:1"].ack.Bytes = 1000
	c := nw.open(t, "n1:1")
	_, err := c.Put(t.Context(), "k", make([]byte, 2000))
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("put: %v", err)
	}
	ended := make(chan error, 1)
	var held sync.Mutex // a completion inside PutAsync would wait for ever
	held.Lock()
	if err := c.PutAsync(t.Context(), "k", make([]byte, 2000), func(_ Revision, err error) {
		held.Lock()
		ended <- err
	}); err != nil {
		t.Fatal(err)
	}
	held.Unlock()
	if err := <-ended; !errors.Is(err, ErrTooLarge) {
		t.Errorf("async put: %v", err)
	}
	if _, err := c.Put(t.Context(), "k", nil); err != nil {
		t.Error(err)
	}
}

// A leader that stops without closing its connections: reads and new writes go
// to the next leader; a write that it had received ends as unknown once there
// is one.
func TestStoppedLeader(t *testing.T) {
	t.Run("with a read", func(t *testing.T) { testStoppedLeader(t, true) })
	t.Run("with writes only", func(t *testing.T) { testStoppedLeader(t, false) })
}

func testStoppedLeader(t *testing.T, withRead bool) {
	synctest.Test(t, func(t *testing.T) {
		nw := newNetwork(t, "n1:1", "n2:1")
		c := nw.open(t, "n1:1", "n2:1")
		if _, err := c.Put(t.Context(), "k", nil); err != nil {
			t.Fatal(err)
		}
		nw.nodes["n1:1"].setScript(func(p *link, f wire.Frame) bool { return true }) // nothing is ever answered
		begin := time.Now()
		type end struct {
			name string
			err  error
			took time.Duration
		}
		ends := make(chan end)
		run := func(name string, do func(ctx context.Context) error) {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
				defer cancel()
				err := do(ctx)
				ends <- end{name, err, time.Since(begin)}
			}()
		}
		run("old write", func(ctx context.Context) error { _, err := c.Put(ctx, "k", nil); return err })
		if withRead {
			run("read", func(ctx context.Context) error { _, err := c.Get(ctx, "k"); return err })
		} else {
			go func() { ends <- end{name: "read"} }()
		}
		time.Sleep(900 * time.Millisecond)
		nw.lead("n2:1")
		nw.nodes["n1:1"].status.Role = wire.RoleLeader // it does not know
		time.Sleep(1500 * time.Millisecond)
		run("new write", func(ctx context.Context) error { _, err := c.Put(ctx, "k", nil); return err })
		for range 3 {
			e := <-ends
			switch e.name {
			case "old write":
				if !OutcomeUnknown(e.err) || e.took < 900*time.Millisecond || e.took > 2*time.Second {
					t.Errorf("%+v", e)
				}
			default:
				if e.err != nil || e.took > 2600*time.Millisecond {
					t.Errorf("%+v", e)
				}
			}
		}
		synctest.Wait()
		s := nw.nodes["n1:1"]
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.links) != 0 {
			t.Errorf("%d connections to the stopped node are left", len(s.links))
		}
	})
}

// A client that cannot reach the leader, though the others can and name it, ends
// its calls in time, does not keep the others busy, and goes on when it can.
func TestPartitionedFromTheLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := newNetwork(t, "n1:1", "n2:1", "n3:1")
		var cut atomic.Bool
		var asked, arrived atomic.Int64
		for addr, s := range nw.nodes {
			s.setScript(func(p *link, f wire.Frame) bool {
				asked.Add(1)
				if f.Type == wire.FrameWrite && addr == "n1:1" {
					arrived.Add(1)
				}
				return cut.Load() && addr == "n1:1"
			})
		}
		c, err := Open(t.Context(), Config{Endpoints: []string{"n1:1", "n2:1", "n3:1"}, Dial: func(ctx context.Context, addr string) (netConn, error) {
			if cut.Load() && addr == "n1:1" {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return nw.dial(ctx, addr)
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		put := func(limit time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			begin := time.Now()
			_, err := c.Put(ctx, "k", nil)
			if took := time.Since(begin); took > limit {
				t.Errorf("a put with %v took %v", limit, took)
			}
			return err
		}
		if err := put(time.Second); err != nil {
			t.Fatal(err)
		}
		cut.Store(true)
		asked.Store(0)
		for range 20 {
			before := arrived.Load()
			switch err := put(time.Second); {
			case arrived.Load() > before && !OutcomeUnknown(err), arrived.Load() == before && !errors.Is(err, ErrUnavailable):
				t.Errorf("%d writes arrived: %v", arrived.Load()-before, err)
			}
		}
		if n := asked.Load(); n > 20*60 {
			t.Errorf("the nodes were asked %d times in 20 s", n)
		}
		cut.Store(false)
		if err := put(4 * time.Second); err != nil {
			t.Error(err)
		}
	})
}

// Without another leader a write waits for the silent one until its deadline,
// and not longer; the connection goes when nobody waits any more.
func TestStoppedSingleNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := newNetwork(t, "n1:1")
		c := nw.open(t, "n1:1")
		s := nw.nodes["n1:1"]
		var running atomic.Bool
		s.setScript(func(p *link, f wire.Frame) bool { return !running.Load() })
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			begin := time.Now()
			_, err := c.Put(ctx, "k", nil)
			cancel()
			if took := time.Since(begin); err == nil || took != 4*time.Second {
				t.Fatalf("%v after %v", err, took)
			}
		}
		time.Sleep(2 * time.Second)
		running.Store(true)
		if _, err := c.Put(t.Context(), "k", nil); err != nil {
			t.Error(err)
		}
	})
}

// A node that answers signs of life but is slow with a write keeps it.
func TestSlowNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := newNetwork(t, "n1:1", "n2:1")
		c := nw.open(t, "n1:1", "n2:1")
		nw.nodes["n1:1"].setScript(func(p *link, f wire.Frame) bool {
			if f.Type == wire.FrameStatus {
				return false
			}
			f = cloneFrame(f)
			time.AfterFunc(4*time.Second, func() { p.send(nw.store.answer(f)) })
			return true
		})
		if _, err := c.Put(t.Context(), "k", nil); err != nil {
			t.Error(err)
		}
		if nw.written() != 1 || nw.nodes["n1:1"].dialed() != 1 {
			t.Errorf("%d writes, %d connections", nw.written(), nw.nodes["n1:1"].dialed())
		}
	})
}

// Refusals that say "not carried out" are retried until they cease.
func TestRetriesRefusals(t *testing.T) {
	f := func(code wire.Code) {
		synctest.Test(t, func(t *testing.T) {
			nw := newNetwork(t, "n1:1")
			c := nw.open(t, "n1:1")
			left := 5
			nw.nodes["n1:1"].setScript(func(p *link, f wire.Frame) bool {
				if f.Type != wire.FrameWrite || left == 0 {
					return false
				}
				left--
				p.fail(f, &wire.Error{Code: code, RetryAfterMs: 3})
				return true
			})
			if _, err := c.Put(t.Context(), "k", nil); err != nil || left != 0 || nw.written() != 1 {
				t.Errorf("%v: %v, %d refusals left, %d writes", code, err, left, nw.written())
			}
		})
	}
	f(wire.CodeBusy)
	f(wire.CodeUnavailable)
	f(wire.CodeNotLeader)
	f(wire.CodeShutdown)
	f(wire.CodeFenced)
}

// Refusals that another attempt would not change end the call at once.
func TestFinalRefusals(t *testing.T) {
	f := func(code wire.Code, want error) {
		t.Helper()
		nw := newNetwork(t, "n1:1")
		c := nw.open(t, "n1:1")
		asked := 0
		nw.nodes["n1:1"].setScript(func(p *link, f wire.Frame) bool {
			if f.Type == wire.FrameWrite {
				asked++
				p.fail(f, &wire.Error{Code: code, Text: "so it is"})
			}
			return f.Type == wire.FrameWrite
		})
		_, err := c.Put(t.Context(), "k", nil)
		var e *Error
		var we *wire.Error
		if !errors.Is(err, want) || !errors.As(err, &e) || e.Code != code || !errors.As(err, &we) || asked != 1 {
			t.Errorf("%v: %v, asked %d times", code, err, asked)
		}
		c.Close()
	}
	f(wire.CodeTooLarge, ErrTooLarge)
	f(wire.CodeBadRequest, ErrRefused)
	f(wire.CodeNoSpace, ErrNoSpace)
	f(wire.CodeUnknown, ErrOutcomeUnknown)
	f(wire.CodeInternal, ErrOutcomeUnknown)
	f(wire.Code(4711), ErrOutcomeUnknown)
}

func TestClose(t *testing.T) {
	nw := newNetwork(t, "n1:1")
	nw.nodes["n1:1"].ack.Requests = 2
	c := nw.open(t, "n1:1")
	arrived := make(chan bool, 1)
	nw.nodes["n1:1"].setScript(func(p *link, f wire.Frame) bool {
		if f.Type == wire.FrameWrite {
			arrived <- true
			return true
		}
		return false
	})
	sent, waiting := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := c.Put(t.Context(), "k", nil)
		sent <- err
	}()
	<-arrived
	if err := c.PutAsync(t.Context(), "k", nil, func(_ Revision, err error) { waiting <- err }); err != nil {
		t.Fatal(err)
	}
	c.Close()
	c.Close()
	if err := <-sent; !OutcomeUnknown(err) || !errors.Is(err, ErrClosed) {
		t.Errorf("write under way: %v", err)
	}
	if err := <-waiting; !errors.Is(err, ErrClosed) || OutcomeUnknown(err) {
		t.Errorf("write in line: %v", err)
	}
	if _, err := c.Get(t.Context(), "k"); !errors.Is(err, ErrClosed) {
		t.Errorf("get after close: %v", err)
	}
}

func TestAsyncBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := newNetwork(t, "n1:1")
		c := nw.openWith(t, Config{Endpoints: []string{"n1:1"}, MaxPending: 10})
		synctest.Wait()
		nw.nodes["n1:1"].setScript(func(p *link, f wire.Frame) bool { return true })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 100)
		done := func(_ Revision, err error) { ended <- err }
		for range 10 {
			if err := c.PutAsync(ctx, "k", nil, done); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.PutAsync(ctx, "k", nil, done); !errors.Is(err, ErrBusy) || !SafeToRetry(err) {
			t.Fatalf("beyond MaxPending: %v", err)
		}
		begin := time.Now()
		cancel()
		for range 10 {
			if err := <-ended; !OutcomeUnknown(err) || !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled: %v", err)
			}
		}
		if late := time.Since(begin); late > sweepEvery {
			t.Errorf("cancelling was noticed after %v", late)
		}
		if err := c.PutAsync(ctx, "k", nil, done); !errors.Is(err, context.Canceled) {
			t.Errorf("with a cancelled context: %v", err)
		}
	})
}

// Thousands of calls over connections that die at every stage, answers that
// redirect and refuse: nothing is applied twice, what is acknowledged was
// applied, what is called failed was not, and no caller gets another's answer.
func TestChaos(t *testing.T) {
	nw := newNetwork(t, "n1:1", "n2:1", "n3:1")
	nw.tcp = true
	for _, s := range nw.nodes {
		s.setScript(func(p *link, f wire.Frame) bool {
			if f.Type == wire.FrameStatus {
				return false
			}
			switch r := rand.IntN(400); {
			case r < 2:
				p.net.Close()
			case r < 4:
				nw.store.answer(f)
				p.net.Close()
			case r < 10:
				p.fail(f, &wire.Error{Code: wire.CodeBusy, RetryAfterMs: 1})
			case r < 16:
				p.fail(f, &wire.Error{Code: wire.CodeUnavailable})
			case r < 18:
				p.fail(f, &wire.Error{Code: wire.CodeNotLeader, Leader: "n2:1"})
			case r == 18:
				nw.lead([]string{"n1:1", "n2:1", "n3:1"}[rand.IntN(3)])
				return false
			default:
				return false
			}
			return true
		})
	}
	c := nw.open(t, "n1:1", "n2:1", "n3:1")
	var acked, failed, unknown atomic.Int64
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			for i := range 30 {
				key := fmt.Sprintf("%d-%d", w, i)
				_, err := c.Put(t.Context(), key, []byte(key))
				nw.store.mu.Lock()
				applied := nw.store.items[key].Version
				nw.store.mu.Unlock()
				switch {
				case err == nil:
					acked.Add(1)
				case OutcomeUnknown(err):
					unknown.Add(1)
				default:
					failed.Add(1)
				}
				if applied > 1 || err == nil && applied != 1 || err != nil && !OutcomeUnknown(err) && applied != 0 {
					t.Errorf("%s was applied %d times: %v", key, applied, err)
				}
				it, err := c.Get(t.Context(), key)
				if applied == 1 && (err != nil || string(it.Value) != key) {
					t.Errorf("%s: %q, %v", key, it.Value, err)
				}
			}
		})
	}
	wg.Wait()
	if acked.Load() < 1000 || failed.Load() > 0 || unknown.Load() == 0 {
		t.Errorf("%d acknowledged, %d failed, %d unknown", acked.Load(), failed.Load(), unknown.Load())
	}
}
