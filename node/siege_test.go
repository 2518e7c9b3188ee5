package node

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/wire"
)

// Everything at once: slow connections, in the long form nearly as many as are
// allowed, others that come and go, and floods of each kind. Ten honest clients
// are served, and nothing is left of it.
func TestSiege(t *testing.T) {
	d := floodTime(t)
	v := startVictim(t, victimConfig{})
	fill(t, v.client)
	before := v.health()
	slow := 600
	if raced() { // the floods then leave them few turns to be accepted in
		slow = 150
	}
	if os.Getenv("DNODETEST_FLOOD") != "" {
		slow = wire.MaxConnections - 100
	}
	clients := honestClients(t, v.client)
	calm := honest(t, clients, min(d, 10*time.Second))
	stop := flood{Addr: v.client, Peer: v.peer, Kind: "siege", InFlight: slow}.start(t)
	defer stop()
	first := v.health().Answered
	eventually(t, "the siege to be laid", func() error {
		h := v.health()
		more := h.Answered - first
		first = h.Answered
		if h.Files < slow || more == 0 {
			return fmt.Errorf("%d files are open, and %d more requests were answered", h.Files, more)
		}
		return nil
	})
	busy := honest(t, clients, d)
	during := v.health()
	stop()
	t.Logf("p99 %v before, %v in the siege: %.1f times; %d answered in %v", calm, busy, float64(busy)/float64(calm), during.Answered-first, d)
	t.Logf("during it %+v", during)
	checkTail(t, calm, busy)
	v.recovers(before, clients)
}

// siege runs until its process is killed.
func siege(f *flood) error {
	var wg sync.WaitGroup
	for kind, inFlight := range floods {
		wg.Go(func() {
			for { // who is told to go comes back
				flooder(f.Addr, inFlight, floodFrame(kind))
			}
		})
	}
	var made atomic.Int64
	for i := range 2 {
		wg.Go(func() {
			for {
				churn(f, &made, i, func() bool { return false })
			}
		})
	}
	err := slowly(f.Addr, f.InFlight, true)
	wg.Wait()
	return err
}

// slowly makes connections that send one byte a second each, of a hello or of a
// large request, and makes another for each that is closed.
func slowly(addr string, count int, greets bool) error {
	hello := helloBytes(wire.Hello{Side: wire.ClientSide, Name: "slow"})
	text := hello
	if greets {
		text = (&raw{}).putFrame("k", strings.Repeat("v", 10_000))
	}
	dial := func() (c net.Conn, err error) {
		if c, err = net.DialTimeout("tcp", addr, testPatience); err == nil && greets {
			_, err = c.Write(hello)
		}
		return c, err
	}
	conns := make([]net.Conn, count)
	var err error
	for i := range conns {
		if conns[i], err = dial(); err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
	}
	const parts = 100 // of a second: they do not keep time with each other
	tick := time.NewTicker(time.Second / parts)
	defer tick.Stop()
	for n := 0; ; n++ {
		for i := n % parts; i < count; i += parts {
			at := n / parts % len(text)
			if _, err := conns[i].Write(text[at : at+1]); err == nil {
				continue
			}
			_ = conns[i].Close()
			if conns[i], err = dial(); err != nil {
				return fmt.Errorf("another connection: %w", err)
			}
		}
		<-tick.C
	}
}

// checkTail fails the test if the honest ones' p99 has more than doubled. A
// second on a busy machine says little: then only what is gross counts.
func checkTail(t *testing.T, calm, busy time.Duration) {
	t.Helper()
	slack := 200 * time.Millisecond
	if os.Getenv("DNODETEST_FLOOD") != "" {
		slack = 0
	}
	if busy > 2*calm+slack && !raced() {
		t.Errorf("p99 %v before, %v under attack", calm, busy)
	}
}
