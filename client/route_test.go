package client

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dnode-engine/dnode/wire"
)

// A node that is not the leader and knows who is costs one round trip, no wait.
func TestFollowsLeaderWithoutSleeping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := newNetwork(t, "n1:1", "n2:1", "n3:1")
		c := nw.open(t, "n1:1")
		put := func() {
			t.Helper()
			if _, err := c.Put(t.Context(), "k", []byte("v")); err != nil {
				t.Fatal(err)
			}
		}
		put()
		nw.lead("n3:1")
		begin := time.Now()
		put()
		nw.lead("n2:1")
		put()
		if wait := time.Since(begin); wait != 0 {
			t.Errorf("following two leaders took %v", wait)
		}
		if nw.written() != 3 {
			t.Errorf("%d writes were carried out, want 3", nw.written())
		}
	})
}

// The first leader is learned from a follower's status, before any request is
// turned away.
func TestLearnsLeaderFromStatus(t *testing.T) {
	nw := newNetwork(t, "n1:1", "n2:1")
	nw.lead("n2:1")
	nw.nodes["n1:1"].setScript(func(p *link, f wire.Frame) bool {
		if f.Type != wire.FrameStatus {
			t.Errorf("the follower was asked a %v", f.Type)
		}
		return false
	})
	c := nw.open(t, "n1:1")
	if _, err := c.Put(t.Context(), "k", nil); err != nil {
		t.Fatal(err)
	}
}

// Two nodes that name each other are asked a bounded number of times.
func TestHintsInACircle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := newNetwork(t, "n1:1", "n2:1")
		c := nw.open(t, "n1:1", "n2:1")
		asked := 0
		circle := func(other string) func(p *link, f wire.Frame) bool {
			return func(p *link, f wire.Frame) bool {
				if f.Type != wire.FrameWrite {
					return false
				}
				asked++
				p.fail(f, &wire.Error{Code: wire.CodeNotLeader, Leader: other})
				return true
			}
		}
		nw.nodes["n1:1"].setScript(circle("n2:1"))
		nw.nodes["n2:1"].setScript(circle("n1:1"))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := c.Put(ctx, "k", nil)
		if !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) || OutcomeUnknown(err) {
			t.Errorf("put ended with %v", err)
		}
		if asked < 8 || asked > 200 {
			t.Errorf("the nodes were asked %d times in 3 s", asked)
		}
	})
}

// A hint that leads nowhere does not keep the client from finding the leader.
func TestWrongHint(t *testing.T) {
	f := func(hint string) {
		synctest.Test(t, func(t *testing.T) {
			nw := newNetwork(t, "n1:1", "n2:1")
			c := nw.open(t, "n1:1", "n2:1")
			nw.lead("n2:1")
			nw.nodes["n1:1"].setScript(func(p *link, f wire.Frame) bool {
				if f.Type == wire.FrameWrite {
					p.fail(f, &wire.Error{Code: wire.CodeNotLeader, Leader: hint})
				}
				return f.Type == wire.FrameWrite
			})
			if _, err := c.Put(t.Context(), "k", nil); err != nil {
				t.Errorf("hint %q: %v", hint, err)
			}
		})
	}
	f("nowhere:1")
	f("not an address")
	f("n1:1")
	f("")
}

// While nobody leads calls are parked, and all are served once somebody does.
func TestParkedUntilLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := newNetwork(t, "n1:1", "n2:1", "n3:1")
		nw.lead("")
		c := nw.open(t, "n1:1", "n2:1", "n3:1")
		begin := time.Now()
		ended := make(chan error)
		for range 100 {
			go func() {
				_, err := c.Put(t.Context(), "k", nil)
				ended <- err
			}()
		}
		time.Sleep(2 * time.Second)
		nw.lead("n3:1")
		for range 100 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(begin); took > 3100*time.Millisecond {
			t.Errorf("the new leader was found after %v", took-2*time.Second)
		}
		if n := nw.nodes["n1:1"].dialed(); n != 1 {
			t.Errorf("one node was dialed %d times", n)
		}
	})
}

func TestNoLeaderEndsWithTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := newNetwork(t, "n1:1")
		nw.lead("")
		c := nw.open(t, "n1:1")
		begin := time.Now()
		_, err := c.Put(t.Context(), "k", nil)
		if !errors.Is(err, ErrUnavailable) || !SafeToRetry(err) {
			t.Errorf("put without a leader: %v", err)
		}
		if took := time.Since(begin); took < defaultTimeout || took > defaultTimeout+sweepEvery {
			t.Errorf("it took %v", took)
		}
		if _, err := c.Get(t.Context(), "k", ReadOptions{Consistency: Stale}); !errors.Is(err, ErrNotFound) {
			t.Errorf("stale read without a leader: %v", err)
		}
	})
}

// A stale read is answered by the node asked, or by another if that is down.
func TestStaleReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := newNetwork(t, "n1:1", "n2:1", "n3:1")
		asked := map[string]int{}
		for addr, s := range nw.nodes {
			s.setScript(func(p *link, f wire.Frame) bool {
				if f.Type == wire.FrameRead {
					asked[addr]++
				}
				return false
			})
		}
		c := nw.open(t, "n1:1", "n2:1")
		if _, err := c.Put(t.Context(), "k", []byte("v")); err != nil {
			t.Fatal(err)
		}
		get := func(opt ReadOptions) {
			t.Helper()
			opt.Consistency = Stale
			if _, err := c.Get(t.Context(), "k", opt); err != nil {
				t.Error(err)
			}
		}
		get(ReadOptions{Endpoint: "n3:1"})
		get(ReadOptions{})
		get(ReadOptions{})
		nw.nodes["n1:1"].stop()
		get(ReadOptions{})
		_, err := c.Get(t.Context(), "k", ReadOptions{Endpoint: "n2:1"})
		var e *Error
		if !errors.As(err, &e) || e.Code != wire.CodeNotLeader || e.Attempts != 1 {
			t.Errorf("linearizable read at a follower: %v", err)
		}
		asked["n2:1"]--
		if asked["n1:1"] != 2 || asked["n2:1"] != 1 || asked["n3:1"] != 1 {
			t.Errorf("asked %v", asked)
		}
	})
}

func TestOpenFails(t *testing.T) {
	f := func(name, want string, wait time.Duration, prepare func(s *scripted)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nw := newNetwork(t, "n1:1")
				prepare(nw.nodes["n1:1"])
				ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
				defer cancel()
				begin := time.Now()
				_, err := Open(ctx, Config{Endpoints: []string{"n1:1"}, Dial: nw.dial})
				if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
				if took := time.Since(begin); took != wait {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
	f("connection refused", "n1:1: cannot connect: connection refused", 4*time.Second, func(s *scripted) { s.down = true })
	f("too many", "n1:1: the node refused: too many connections", 4*time.Second, func(s *scripted) {
		s.refuse = &wire.Error{Code: wire.CodeConnections}
	})
	// What will not change is not waited for.
	f("hello refused", "version mismatch: upgrade", 0, func(s *scripted) {
		s.refuse = &wire.Error{Code: wire.CodeVersion, Text: "upgrade the older of the two"}
	})
	f("peer port", "unavailable: n1:1: the node refused: unexpected frame: this is the peer port", 0, func(s *scripted) {
		s.refuse = &wire.Error{Code: wire.CodeUnexpected, Text: "this is the peer port"}
	})
	f("no credit", "carries nothing", 0, func(s *scripted) { s.ack.MaxFrame = 30 })
	f("version", "version mismatch", 0, func(s *scripted) { s.ack.Version = 99 })
}

// An error about a leader that was not found says of every endpoint why it is
// of no help.
func TestNoLeaderText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := newNetwork(t, "n1:1", "n2:1", "n3:1")
		nw.lead("")
		nw.nodes["n1:1"].down = true
		nw.nodes["n3:1"].refuse = &wire.Error{Code: wire.CodeUnexpected, Text: "this is the peer port"}
		c := nw.open(t, "n1:1", "n2:1", "n3:1")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.Put(ctx, "k", nil)
		want := "cannot put: unavailable: not in time: n1:1: cannot connect: connection refused; " +
			"n2:1: knows no leader: it waits for the other nodes of its cluster; " +
			"n3:1: the node refused: unexpected frame: this is the peer port"
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		if !errors.Is(err, ErrNoLeader) || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrUnavailable) {
			t.Error("the error does not wrap what it says")
		}
	})
}

// A call that ends before a node is given up for silent names it nevertheless.
func TestSilentNodesAreNamed(t *testing.T) {
	f := func(want string, said []byte) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			life, stop := context.WithCancel(t.Context())
			defer stop()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			c, err := Open(ctx, Config{Endpoints: []string{"n1:1"}, Dial: func(context.Context, string) (netConn, error) {
				ours, theirs := newPipe()
				context.AfterFunc(life, func() { theirs.Close() })
				go func() {
					go discard(theirs)
					_, _ = theirs.Write(said)
				}()
				return ours, nil
			}})
			if err == nil {
				_, err = c.Put(ctx, "k", nil)
				c.Close()
			}
			if !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q in it", err, want)
			}
		})
	}
	ack := wire.HelloAck{Version: wire.Version, Name: "n1", MaxFrame: wire.MaxFrameBytes, Requests: 100, Bytes: 1 << 20}
	hello := wire.AppendFrame(nil, wire.FrameHelloAck, 0, wire.AppendHelloAck(nil, &ack))
	f("not in time: n1:1: it has not said hello yet", hello[:10])
	f("not in time: n1:1: it said hello and has answered nothing", hello)
}

// A node that accepts connections and never answers hello delays nothing but
// itself.
func TestSilentHello(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := newNetwork(t, "n1:1", "n2:1")
		nw.lead("n2:1")
		dial := nw.dial
		c, err := Open(t.Context(), Config{
			Endpoints: []string{"n1:1", "n2:1"},
			Dial: func(ctx context.Context, addr string) (conn netConn, err error) {
				if addr == "n1:1" {
					a, b := newPipe()
					context.AfterFunc(t.Context(), func() { b.Close() })
					go discard(b)
					return a, nil
				}
				return dial(ctx, addr)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		begin := time.Now()
		if _, err := c.Put(t.Context(), "k", nil); err != nil || time.Since(begin) > 200*time.Millisecond {
			t.Errorf("put: %v after %v", err, time.Since(begin))
		}
	})
}

// Endpoints of two clusters do not mix.
func TestOtherCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := newNetwork(t, "n1:1", "n2:1")
		nw.nodes["n1:1"].ack.Cluster = wire.ClusterID{1}
		nw.nodes["n2:1"].ack.Cluster = wire.ClusterID{2}
		c := nw.open(t, "n1:1", "n2:1")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.Status(ctx, "n2:1")
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "belongs to cluster 02") {
			t.Errorf("status of the other cluster: %v", err)
		}
		if _, err := c.Put(ctx, "k", nil); SafeToRetry(err) && ctx.Err() == nil {
			t.Error(err)
		}
	})
}

// Open waits for a node that is only about to start.
func TestOpenBeforeNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := newNetwork(t, "n1:1")
		s := nw.nodes["n1:1"]
		s.down = true
		time.AfterFunc(3*time.Second, func() {
			s.mu.Lock()
			s.down = false
			s.mu.Unlock()
		})
		begin := time.Now()
		c := nw.open(t, "n1:1")
		if _, err := c.Put(t.Context(), "k", nil); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took > 3*time.Second+MaxBackoff+maxProbeWait {
			t.Errorf("the node was found after %v", took-3*time.Second)
		}
	})
}
