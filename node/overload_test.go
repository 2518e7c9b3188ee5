package node

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/wire"
)

// With two of three members dead, a flood of puts is refused before anything is
// appended: what was appended before the leader noticed is bounded, the rest is
// told when to come back, and memory and log stay as they are.
func TestFloodWithoutQuorum(t *testing.T) {
	c := newCluster(t, 3, func(_ int, cfg *Config) { cfg.Limits.UncommittedBytes = wire.MaxAppendBytes })
	c.put("k", "v")
	n := c.leader()
	for i, o := range c.nodes {
		if o != n {
			o.Kill()
			c.nodes[i] = nil
		}
	}
	conn := mustConnect(t, n.ClientAddr())
	var last wire.Index
	codes := map[wire.Code]int{}
	flood := func(count int) {
		t.Helper()
		for range count / 7 {
			var b []byte
			for range 7 {
				b = append(b, conn.putFrame("k", strings.Repeat("v", wire.MaxCommandBytes-200))...)
			}
			if _, err := conn.Write(b); err != nil {
				t.Fatal(err)
			}
			for range 7 {
				_, err := conn.next()
				var e *wire.Error
				switch {
				case !errors.As(err, &e):
					t.Fatalf("answered by %v", err)
				case e.Code == wire.CodeBusy || e.Code == wire.CodeUnavailable:
					if e.RetryAfterMs == 0 {
						t.Errorf("%v does not say when to come back", e)
					}
				}
				codes[e.Code]++
			}
		}
	}
	begin := time.Now()
	flood(14) // while it still leads
	eventually(t, "the leader to step down", func() error {
		if n.Status().Role == wire.RoleLeader {
			return errors.New("it leads")
		}
		last = n.Status().Last
		return nil
	})
	flood(210)
	st := n.Status()
	t.Logf("%v, last %d, in %v", codes, st.Last, time.Since(begin))
	if st.Last != last {
		t.Errorf("the log grew from %d to %d", last, st.Last)
	}
	if codes[wire.CodeUnknown]*wire.MaxCommandBytes > 2*wire.MaxAppendBytes || codes[wire.CodeUnavailable] < 210 {
		t.Errorf("answers %v", codes)
	}
	eventually(t, "refusals to be counted", func() error {
		s := n.published.get()
		total := uint64(0)
		for k := range s.answered {
			total += s.answered[k][wire.CodeUnavailable] + s.answered[k][wire.CodeBusy]
		}
		if want := codes[wire.CodeUnavailable] + codes[wire.CodeBusy]; total < uint64(want) {
			return fmt.Errorf("%d of %d", total, want)
		}
		return nil
	})
}

// A disk that stalls makes writes wait up to a bound; beyond it they are refused
// before they are appended, and what was taken is answered when the disk is back.
func TestFloodOnAStalledDisk(t *testing.T) {
	tr := newTrace()
	cfg := testConfig(t, "n1")
	cfg.OpenFS = tr.fs(0)
	cfg.Limits.UncommittedBytes = wire.MaxAppendBytes
	n := start(t, cfg)
	conn := mustConnect(t, n.ClientAddr())
	eventually(t, "put", func() error { return conn.put("k", "v") })
	n.onLoop(t, false)
	hold := tr.holdNode(0)
	resume := sync.OnceFunc(func() {
		tr.release(0)
		close(hold)
	})
	defer resume()
	var b []byte
	for range 7 {
		b = append(b, conn.putFrame("k", strings.Repeat("v", wire.MaxCommandBytes-200))...)
	}
	if _, err := conn.Write(b); err != nil {
		t.Fatal(err)
	}
	busy := 0
	for busy < 3 { // four are as many bytes as may be uncommitted
		_, err := conn.next()
		var e *wire.Error
		if !errors.As(err, &e) || e.Code != wire.CodeBusy || e.RetryAfterMs == 0 {
			t.Fatalf("answered by %v after %d times busy", err, busy)
		}
		busy++
	}
	resume()
	for i := busy; i < 7; i++ {
		if _, err := conn.next(); err != nil {
			t.Fatalf("taken before, answered by %v", err)
		}
	}
}
