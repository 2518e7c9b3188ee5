package node

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/wire"
)

// partial is a hello and all but the last byte of the largest put there is.
func partial() []byte {
	h := wire.Hello{Version: wire.Version, MinVersion: wire.MinVersion, Side: wire.ClientSide, Name: "partial"}
	b := wire.AppendFrame(nil, wire.FrameHello, 0, wire.AppendHello(nil, &h))
	put := (&raw{}).putFrame("k", strings.Repeat("v", wire.MaxCommandBytes-100))
	return append(b, put[:len(put)-1]...)
}

// What all connections together leave unfinished is bounded: who holds most is
// closed and told so, who holds little is served all the while.
func TestUnfinishedRequestsAreBounded(t *testing.T) {
	cfg := testConfig(t, "n1")
	cfg.Limits.HeldBytes = 8 << 20
	n := start(t, cfg)
	honest := mustConnect(t, n.ClientAddr())
	eventually(t, "put", func() error { return honest.put("k", "v") })
	var greedy []*raw
	for range 40 {
		c, err := dialRaw(n.ClientAddr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		greedy = append(greedy, c)
		_, _ = c.Write(partial()) // may be refused midway
		if err := honest.put("k", "v"); err != nil {
			t.Fatalf("honest put: %v", err)
		}
	}
	told := 0
	for _, c := range greedy {
		if err := c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		_, err := c.next() // the answer to the hello
		if err == nil {
			_, err = c.next()
		}
		if isCode(err, wire.CodeBusy) {
			told++
		}
	}
	s := n.published.get()
	most := s.heldMost
	if most > cfg.Limits.HeldBytes+2*wire.MaxFrameBytes || told < 25 || s.closed[wire.CodeBusy] < 25 {
		t.Errorf("at most %d bytes held, %d connections told, %d counted", most, told, s.closed[wire.CodeBusy])
	}
	for _, c := range greedy {
		_ = c.Close()
	}
	eventually(t, "memory to be given back", func() error {
		if s := n.published.get(); s.held != 0 || s.conns != 1 {
			return fmt.Errorf("%d bytes held for %d connections", s.held, s.conns)
		}
		return nil
	})
}

// Replies that nobody reads are bounded in sum: who leaves most unread is
// closed, and asked to come back before that.
func TestUnreadRepliesAreBounded(t *testing.T) {
	cfg := testConfig(t, "n1")
	cfg.Limits.HeldBytes = 16 << 20
	n := start(t, cfg)
	honest := mustConnect(t, n.ClientAddr())
	eventually(t, "put", func() error { return honest.put("k", strings.Repeat("v", 512<<10)) })
	var slow []*raw
	for range 20 {
		c := mustConnect(t, n.ClientAddr())
		slow = append(slow, c)
		if err := c.Conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
			t.Fatal(err)
		}
		for range 16 { // 8 MiB, of which the kernel takes some
			if _, err := c.Write(c.getFrame(wire.Stale, "k")); err != nil {
				break
			}
		}
		if err := honest.put("other", "v"); err != nil {
			t.Fatalf("honest put: %v", err)
		}
	}
	eventually(t, "slow readers to be closed", func() error {
		for _, c := range slow { // who is still there asks for more
			_, _ = c.Write(c.getFrame(wire.Stale, "k"))
		}
		s := n.published.get()
		busy := s.answered[0][wire.CodeBusy]
		if s.closed[wire.CodeSlowReader] == 0 || busy == 0 {
			return fmt.Errorf("%d closed, %d requests refused, %d bytes held", s.closed[wire.CodeSlowReader], busy, s.held)
		}
		return nil
	})
	if limit, most := cfg.Limits.HeldBytes+wire.MaxOutboundBytes, n.published.get().heldMost; most > limit {
		t.Errorf("%d bytes held, more than %d", most, limit)
	}
}

// Members have places of their own, and a member that says hello gets one even
// while others sit on all of them in silence.
func TestClientsDoNotTakeMembersPlaces(t *testing.T) {
	c := newCluster(t, 3, func(_ int, cfg *Config) { cfg.Limits.Connections = 4 })
	c.put("k", "v")
	n := c.leader()
	for range 8 { // clients: over the limit
		if r, err := dialRaw(n.ClientAddr()); err == nil {
			defer r.Close()
			_, _ = r.Write([]byte{0})
		}
	}
	for range maxMemberConns + 50 { // silence on the members' port
		r, err := dialRaw(n.PeerAddr())
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
	}
	eventually(t, "silent callers to be dropped", func() error {
		if s := n.published.get(); s.dropped < 40 {
			return fmt.Errorf("%d dropped", s.dropped)
		}
		return nil
	})
	caller := wire.Hello{Side: wire.PeerSide, Name: "n9", Cluster: n.Status().Cluster}
	r, err := dialRaw(n.PeerAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.hello(caller); !isCode(err, wire.CodeWrongIdentity) {
		t.Errorf("who said hello was not listened to: %v", err)
	}
	i := (c.index(n) + 1) % 3
	c.nodes[i].Kill()
	c.nodes[i] = start(t, c.cfgs[i])
	eventually(t, "the member to be linked again", func() error {
		for _, p := range c.nodes[i].published.get().peers {
			if !p.link {
				return fmt.Errorf("no link to %s", p.name)
			}
		}
		return nil
	})
}
