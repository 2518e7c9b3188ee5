package node

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dnode-engine/dnode/wire"
)

// Connections that come and go by the thousand, half of them reset, some in the
// middle of a hello, a request or its answer, leave nothing behind.
func TestChurn(t *testing.T) {
	d := floodTime(t)
	v := startVictim(t, victimConfig{})
	before := v.health()
	clients := honestClients(t, v.client)
	calm := honest(t, clients, d/2)
	var made atomic.Int64
	f := flood{Addr: v.client, Peer: v.peer}
	stop := attack(4, func(i int, over func() bool) { churn(&f, &made, i, over) })
	busy := honest(t, clients, d/2)
	stop()
	t.Logf("%d connections, p99 %v before, %v beside them", made.Load(), calm, busy)
	v.recovers(before, clients)
}

func churn(f *flood, made *atomic.Int64, i int, over func() bool) {
	hello := helloBytes(wire.Hello{Side: wire.ClientSide, Name: "churn"})
	scan := floodFrame("scans")
	for n := i; !over(); n++ {
		addr := f.Addr
		if n%8 == 7 {
			addr = f.Peer
		}
		c, err := net.DialTimeout("tcp", addr, testPatience)
		if err != nil {
			return
		}
		made.Add(1)
		b := append(hello[:len(hello):len(hello)], scan(&raw{})...)
		_, _ = c.Write(b[:len(b)*(n%5)/4])
		if n%2 == 0 {
			_ = c.(*net.TCPConn).SetLinger(0)
		}
		_ = c.Close()
	}
}

// Ten thousand connections that send a byte now and then are told to go or are
// refused beyond the limit; who is let in is served meanwhile, and all are gone
// from memory when they are gone.
func TestSlowConnections(t *testing.T) {
	d := floodTime(t)
	for _, greets := range []bool{false, true} {
		t.Run(fmt.Sprintf("greets=%v", greets), func(t *testing.T) {
			v := startVictim(t, victimConfig{})
			before := v.health()
			clients := honestClients(t, v.client)
			calm := honest(t, clients, d/2)
			count := wire.MaxConnections - 20
			if raced() {
				count = 2000
			}
			kind := "slow"
			if greets {
				kind = "slow and greeting"
			}
			stop := flood{Addr: v.client, Kind: kind, InFlight: count}.start(t)
			defer stop()
			eventually(t, "the connections", func() error {
				if h := v.health(); greets && h.Files < count || int(h.Accepted) < count {
					return fmt.Errorf("%+v", h)
				}
				return nil
			})
			busy := honest(t, clients, d/2)
			during := v.health()
			t.Logf("p99 %v before, %v beside them; during %+v", calm, busy, during)
			if during.RSS > before.RSS+256<<20 {
				t.Errorf("memory %d, was %d", during.RSS, before.RSS)
			}
			stop()
			checkTail(t, calm, busy)
			v.recovers(before, clients)
		})
	}
}

// Beyond the limit each connection is told so; whoever is in stays, and a place
// that becomes free is given again.
func TestMoreConnectionsThanAllowed(t *testing.T) {
	v := startVictim(t, victimConfig{Connections: 500})
	before := v.health()
	const burst = 2000
	all := make([]*raw, burst)
	var refused, served atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := i; n < burst; n += 8 {
				c, err := dialRaw(v.client)
				if err != nil {
					t.Errorf("connection %d: %v", n, err)
					return
				}
				all[n] = c
				switch _, err := c.hello(wire.Hello{Side: wire.ClientSide, Name: "x"}); {
				case isCode(err, wire.CodeConnections):
					refused.Add(1)
				case err == nil:
					served.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if refused.Load() < maxRefused || served.Load() != 500 {
		t.Errorf("%d served, %d told that they are too many", served.Load(), refused.Load())
	}
	for _, c := range all {
		_ = c.Close()
	}
	v.recovers(before, nil)
}
