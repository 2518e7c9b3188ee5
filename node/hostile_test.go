package node

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/wire"
)

func helloBytes(h wire.Hello) []byte {
	h.Version, h.MinVersion = wire.Version, wire.MinVersion
	return wire.AppendFrame(nil, wire.FrameHello, 0, wire.AppendHello(nil, &h))
}

// lastWord sends b and returns why the other side closed: a *wire.Error, or
// io.EOF if it gave no reason. Answers to requests are skipped.
func lastWord(addr string, b []byte, ends bool) error {
	c, err := dialRaw(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write(b); err != nil {
		return err
	}
	if ends {
		if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
			return err
		}
	}
	for {
		_, err := c.next()
		var e *wire.Error
		if err != nil && !(errors.As(err, &e) && !e.Code.Closes() && c.buf[8] != 0) {
			return err
		}
	}
}

// threeWithoutOne is a cluster whose third member is gone, and the hello that
// this member would say.
func threeWithoutOne(t *testing.T) (c *testCluster, third wire.Hello) {
	t.Helper()
	c = newCluster(t, 3, nil)
	c.put("k", "v")
	lead := c.leader()
	i := (c.index(lead) + 1) % 3
	gone := c.nodes[i]
	eventually(t, "the cluster id to be known", func() error {
		for _, n := range c.nodes {
			if n.self.Load().cluster.IsZero() {
				return errors.New("not yet")
			}
		}
		return nil
	})
	s := gone.self.Load()
	third = s.hello(lead.cfg.Name)
	gone.Kill()
	c.nodes[i] = nil
	return c, third
}

// Every kind of nonsense on either port ends its own connection with a typed
// reason, and nothing else: terms, leader and data stay.
func TestNonsenseOnBothPorts(t *testing.T) {
	c, third := threeWithoutOne(t)
	n := c.leader()
	term := n.Status().Term
	asClient := helloBytes(wire.Hello{Side: wire.ClientSide, Name: "x"})
	asPeer := helloBytes(third)
	member := n.self.Load().members.FindName(third.Name)
	message := wire.AppendPeerFrame(nil, &wire.PeerMessage{Type: wire.FrameRoundReply, From: member.ID, Term: 1})
	put := (&raw{}).putFrame("k", "nonsense")
	f := func(what string, b []byte, codes ...wire.Code) {
		t.Helper()
		for _, port := range []struct {
			addr  string
			hello []byte
		}{{n.ClientAddr(), asClient}, {n.PeerAddr(), asPeer}} {
			for _, first := range [][]byte{nil, port.hello} {
				err := lastWord(port.addr, slices.Concat(first, b), false)
				var e *wire.Error
				if !errors.As(err, &e) || !slices.Contains(codes, e.Code) {
					t.Errorf("%s, %d bytes of hello before it, port %s: ended by %v, want one of %v", what, len(first), port.addr, err, codes)
				}
			}
		}
	}
	header := func(change func(b []byte)) []byte { // with a header checksum that is right
		b := slices.Clone(put[:wire.FrameHeaderBytes])
		change(b)
		binary.LittleEndian.PutUint32(b[20:], checksum(b[:20]))
		return b
	}
	le := binary.LittleEndian
	f("garbage", []byte(strings.Repeat("GET / HTTP/1.1\r\n", 4)), wire.CodeBadFrame)
	f("zeros", make([]byte, 64), wire.CodeBadFrame)
	f("ones", bytes.Repeat([]byte{0xff}, 64), wire.CodeBadFrame)
	f("length 4 GiB", header(func(b []byte) { le.PutUint32(b, 1<<32-1) }), wire.CodeTooLarge)
	f("length 0", header(func(b []byte) { le.PutUint32(b, 0) }), wire.CodeBadFrame)
	f("length 23", header(func(b []byte) { le.PutUint32(b, 23) }), wire.CodeBadFrame)
	f("type 0", header(func(b []byte) { b[4] = 0 }), wire.CodeBadFrame, wire.CodeUnexpected)
	f("type 255", header(func(b []byte) { b[4] = 255 }), wire.CodeBadFrame, wire.CodeUnexpected)
	f("reserved bytes", header(func(b []byte) { b[6] = 1 }), wire.CodeBadFrame)
	f("unknown flags", header(func(b []byte) { b[5] = 0x80 }), wire.CodeBadFrame, wire.CodeUnexpected)
	for _, typ := range []wire.FrameType{wire.FrameHelloAck, wire.FrameError, wire.FrameWriteReply, wire.FrameReadReply, wire.FrameStatusReply} {
		f("wrong direction: "+typ.String(), wire.AppendFrame(nil, typ, 1, nil), wire.CodeUnexpected)
	}
	for bit := range wire.FrameHeaderBytes * 8 {
		b := slices.Clone(put)
		b[bit/8] ^= 1 << (bit % 8)
		if err := lastWord(n.ClientAddr(), slices.Concat(asClient, b), false); !isCode(err, wire.CodeBadFrame) {
			t.Errorf("bit %d of a request's header flipped: ended by %v", bit, err)
		}
		b = slices.Clone(message)
		b[bit/8] ^= 1 << (bit % 8)
		if err := lastWord(n.PeerAddr(), slices.Concat(asPeer, b), false); !isCode(err, wire.CodeBadFrame) {
			t.Errorf("bit %d of a message's header flipped: ended by %v", bit, err)
		}
	}
	for _, first := range []struct {
		addr  string
		bytes []byte
	}{{n.ClientAddr(), slices.Concat(asClient, put)}, {n.PeerAddr(), slices.Concat(asPeer, message)}} {
		for cut := range len(first.bytes) {
			if cut >= len(asClient) && first.addr == n.ClientAddr() && cut < len(first.bytes)-4 {
				continue // like the ones before
			}
			if err := lastWord(first.addr, first.bytes[:cut], true); !errors.Is(err, io.EOF) {
				t.Errorf("%d of %d bytes and the end: %v", cut, len(first.bytes), err)
			}
		}
	}
	for _, side := range []wire.Side{wire.ClientSide, wire.PeerSide} {
		for _, h := range []wire.Hello{
			{Side: side, Name: strings.Repeat("n", wire.MaxNameBytes+1)},
			{Side: side, To: strings.Repeat("n", 3000)},
			{Side: side, PeerAddr: strings.Repeat("a", wire.MaxAddrBytes+1)},
			{Side: side, ClientAddr: strings.Repeat("a", 8000)},
		} {
			addr := n.ClientAddr()
			if side == wire.PeerSide {
				addr = n.PeerAddr()
			}
			if err := lastWord(addr, helloBytes(h), false); !isCode(err, wire.CodeBadFrame) && !isCode(err, wire.CodeTooLarge) {
				t.Errorf("oversized hello on %s: %v", addr, err)
			}
		}
	}
	if got := n.Status(); got.Term != term || got.Role != wire.RoleLeader {
		t.Errorf("term %d, %v after all this; was %d", got.Term, got.Role, term)
	}
	c.wantGet(n, wire.Linearizable, "k", "v")
	eventually(t, "all connections to be gone", func() error {
		if s := n.published.get(); s.conns > 1 || s.held != 0 {
			return fmt.Errorf("%d connections, %d bytes", s.conns, s.held)
		}
		return nil
	})
}

// Bytes mean the same however they are cut into segments.
func TestFramesInPieces(t *testing.T) {
	n := start(t, testConfig(t, "n1"))
	first := mustConnect(t, n.ClientAddr())
	eventually(t, "put", func() error { return first.put("k", "v") })
	for _, size := range []int{1, 2, 7, 23, 24, 25, 50, 1000} {
		c, err := dialRaw(n.ClientAddr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		b := helloBytes(wire.Hello{Side: wire.ClientSide, Name: "x"})
		for range 3 {
			b = append(b, c.putFrame("k", "v")...)
			b = append(b, c.getFrame(wire.Linearizable, "k")...)
		}
		for piece := range slices.Chunk(b, size) {
			if _, err := c.Write(piece); err != nil {
				t.Fatal(err)
			}
		}
		answers := map[uint64]bool{}
		for range 1 + c.id {
			f, err := c.next()
			if err != nil {
				t.Fatalf("pieces of %d: %v after %d answers", size, err, len(answers))
			}
			answers[f.ID] = true
		}
		if len(answers) != 1+int(c.id) {
			t.Errorf("pieces of %d: answers %v", size, answers)
		}
	}
}

// Nobody moves the term without the hello of a member: not before a hello, not
// with a wrong one, not beside the member itself.
func TestTermNeedsAHello(t *testing.T) {
	c, third := threeWithoutOne(t)
	n := c.leader()
	id := n.self.Load().members.FindName(third.Name).ID
	var other *Node // the member that is there
	for _, o := range c.nodes {
		if o != nil && o != n {
			other = o
		}
	}
	impostor := other.self.Load().hello(n.cfg.Name)
	impostor.Replica[0] ^= 1
	wrongCluster, noName := third, third
	wrongCluster.Cluster[3] ^= 1
	noName.Name = ""
	before := n.Status()
	messages := func(id wire.NodeID) (b []byte) {
		term := before.Term + 1000
		for typ := wire.FramePreVote; typ <= wire.FrameRoundReply; typ++ {
			b = wire.AppendPeerFrame(b, &wire.PeerMessage{Type: typ, From: id, Term: term, Index: 1 << 40, LogTerm: term})
			term++
		}
		return wire.AppendPeerFrame(b, &wire.PeerMessage{Type: wire.FrameVote, From: id, Term: 1 << 63})
	}
	f := func(what, addr string, first []byte, id wire.NodeID, code wire.Code) {
		t.Helper()
		if err := lastWord(addr, slices.Concat(first, messages(id)), false); !isCode(err, code) {
			t.Errorf("%s: ended by %v, want %v", what, err, code)
		}
		if st := n.Status(); st.Term != before.Term || st.Leader != before.Leader {
			t.Fatalf("%s: term %d leader %d, was %d and %d", what, st.Term, st.Leader, before.Term, before.Leader)
		}
	}
	f("no hello", n.PeerAddr(), nil, id, wire.CodeUnexpected)
	f("no hello, clients' port", n.ClientAddr(), nil, id, wire.CodeUnexpected)
	f("a client's hello, clients' port", n.ClientAddr(), helloBytes(wire.Hello{Side: wire.ClientSide}), id, wire.CodeUnexpected)
	f("a client's hello, members' port", n.PeerAddr(), helloBytes(wire.Hello{Side: wire.ClientSide}), id, wire.CodeUnexpected)
	f("another cluster", n.PeerAddr(), helloBytes(wrongCluster), id, wire.CodeWrongCluster)
	f("nobody's name", n.PeerAddr(), helloBytes(noName), id, wire.CodeWrongIdentity)
	f("a connected member's name, another replica", n.PeerAddr(), helloBytes(impostor), n.self.Load().members.FindName(impostor.Name).ID, wire.CodeWrongIdentity)
	f("a member that speaks for another", n.PeerAddr(), helloBytes(third), id+100, wire.CodeBadRequest)
	c.wantGet(n, wire.Linearizable, "k", "v")
	// The same messages from the member itself do count: the test above could fail.
	if err := lastWord(n.PeerAddr(), slices.Concat(helloBytes(third), messages(id)), true); err == nil {
		t.Error("no end")
	}
	eventually(t, "the member's term to count", func() error {
		if st := n.Status(); st.Term < before.Term+1000 {
			return fmt.Errorf("term %d", st.Term)
		}
		return nil
	})
}

// A member that talks nonsense costs its own connection, and an election where it
// names a later term; terms do not run out, and the others go on.
func TestHostileMember(t *testing.T) {
	c, third := threeWithoutOne(t)
	before := c.leader().Status().Term
	const absurd = 1<<64 - 1
	for typ := wire.FramePreVote; typ <= wire.FrameRoundReply; typ++ {
		for _, m := range []wire.PeerMessage{
			{Term: before + 3, Index: absurd, Hint: absurd, Commit: absurd, Round: absurd},
			{Term: before, Index: 1 << 62, LogTerm: absurd, Hint: absurd, Commit: absurd, Reject: true},
			{Term: 1 << 62, Index: 3, LogTerm: 1, Commit: absurd},
			{Term: 1 << 63},
			{Term: absurd, Index: absurd, LogTerm: absurd, Hint: absurd, Commit: absurd, Round: absurd, Reject: true},
		} {
			for _, n := range c.nodes {
				if n == nil {
					continue
				}
				h := third
				h.To = n.cfg.Name
				m.Type, m.From = typ, n.self.Load().members.FindName(third.Name).ID
				b := slices.Concat(helloBytes(h), wire.AppendPeerFrame(nil, &m))
				if err := lastWord(n.PeerAddr(), b, true); !errors.Is(err, io.EOF) && !isCode(err, wire.CodeBadRequest) {
					t.Errorf("%v to %s: %v", m, n.cfg.Name, err)
				}
			}
		}
	}
	c.put("k", "w")
	n := c.leader()
	c.wantGet(n, wire.Linearizable, "k", "w")
	if term := n.Status().Term; term > 1<<40 {
		t.Errorf("term %d, was %d", term, before)
	}
	eventually(t, "connections to be counted", func() error {
		refused := uint64(0)
		for _, n := range c.nodes {
			if n != nil {
				s := n.published.get()
				refused += s.closed[wire.CodeBadRequest]
			}
		}
		if refused < 2*3*8 { // three of the five make no sense in any state
			return fmt.Errorf("%d were told to go", refused)
		}
		return nil
	})
}

// A member that accepts and hangs up at once is called less and less often.
func TestLinksBackOff(t *testing.T) {
	addrs, giveBack := reserve(t, 2)
	cfg := testConfig(t, "n1")
	cfg.PeerListen, cfg.Cluster = addrs[0], map[string]string{"n1": addrs[0], "n2": addrs[1]}
	giveBack[0]()
	giveBack[1]()
	ln, err := net.Listen("tcp", addrs[1])
	if err != nil {
		t.Fatal(err)
	}
	calls := make(chan struct{}, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if _, err := readFrame(c); err == nil {
				ack := wire.HelloAck{Version: wire.Version, Name: "n2", Replica: rid(9), ClientAddr: addrs[1], Member: true}
				_, _ = c.Write(wire.AppendFrame(nil, wire.FrameHelloAck, 0, wire.AppendHelloAck(nil, &ack)))
				_, _ = c.Write(wire.AppendErrorFrame(nil, 0, refuse(wire.CodeBadRequest, "no")))
			}
			_ = c.Close()
			calls <- struct{}{}
		}
	}()
	start(t, cfg)
	enough := time.After(1500 * time.Millisecond)
	for n := 0; ; n++ {
		select {
		case <-calls:
			continue
		case <-enough:
		}
		if n < 2 || n > 14 {
			t.Errorf("called %d times in 1.5 s", n)
		}
		break
	}
	_ = ln.Close()
	<-done
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
