package node

import (
	"bytes"
	"log/slog"
	"net"
	"slices"
	"testing"

	"github.com/panjf2000/gnet/v2"

	"github.com/dnode-engine/dnode/wire"
)

// fakeConn is what the shell uses of a gnet connection. The bytes of a read are
// mangled afterwards, as gnet reuses them.
type fakeConn struct {
	gnet.Conn
	in     []byte
	out    bytes.Buffer
	stuck  bool // nothing that is written leaves
	closed func()
}

func (f *fakeConn) InboundBuffered() int { return len(f.in) }

func (f *fakeConn) Peek(int) ([]byte, error) { return f.in, nil }

func (f *fakeConn) Discard(int) (int, error) {
	n := len(f.in)
	for i := range f.in {
		f.in[i] = 0xA5
	}
	f.in = nil
	return n, nil
}

func (f *fakeConn) Write(b []byte) (int, error) { return f.out.Write(b) }

func (f *fakeConn) OutboundBuffered() int {
	if f.stuck {
		return f.out.Len()
	}
	return 0
}

func (f *fakeConn) RemoteAddr() net.Addr { return &net.TCPAddr{} }

func (f *fakeConn) Fd() int { return -1 }

// fakeLoop closes connections as gnet does: at once, OnClose inside.
type fakeLoop struct{ gnet.EventLoop }

func (fakeLoop) Close(c gnet.Conn) error { c.(*fakeConn).closed(); return nil }

// FuzzShell gives arbitrary bytes, cut into arbitrary pieces, to a connection of
// either port, and the same bytes in one piece to another: both must be answered
// the same, hold little, and leave nothing when they are gone.
func FuzzShell(f *testing.F) {
	client := helloBytes(wire.Hello{Side: wire.ClientSide, Name: "x"})
	status := wire.AppendFrame(nil, wire.FrameStatus, 1, nil)
	put := (&raw{}).putFrame("k", "v")
	peer := fuzzSelf().hello("n1")
	peer.Name, peer.Replica = "n2", rid(2)
	message := wire.AppendPeerFrame(nil, &wire.PeerMessage{Type: wire.FrameVote, From: 2, Term: 9})
	f.Add(false, uint8(1), slices.Concat(client, status, put, status))
	f.Add(false, uint8(7), slices.Concat(client, put, client))
	f.Add(true, uint8(5), slices.Concat(helloBytes(peer), message, message))
	f.Add(true, uint8(3), slices.Concat(message, helloBytes(peer)))
	f.Add(false, uint8(200), []byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, members bool, size uint8, b []byte) {
		side := wire.ClientSide
		if members {
			side = wire.PeerSide
		}
		whole := feed(t, side, b, len(b)+1)
		pieces := feed(t, side, b, int(size)+1)
		if !bytes.Equal(whole, pieces) {
			t.Errorf("answers differ:\n%x\n%x", whole, pieces)
		}
	})
}

func fuzzSelf() *self {
	list := map[string]string{"n1": "127.0.0.1:1", "n2": "127.0.0.1:2"}
	hash := bootstrapHash([]string{"n1", "n2"}, func(name string) string { return list[name] })
	return &self{name: "n1", replica: rid(1), clientAddr: "127.0.0.1:3", peerAddr: "127.0.0.1:1", list: list, bootstrap: hash}
}

// feed returns what a connection is answered by a node that is being founded:
// the shell answers all by itself.
func feed(t *testing.T, side wire.Side, b []byte, size int) []byte {
	cfg := Config{Name: "n1", Cluster: fuzzSelf().list}
	cfg.fill()
	l := &loop{cfg: &cfg, log: slog.New(slog.DiscardHandler), self: fuzzSelf(), el: fakeLoop{}, disk: &diskLoop{}, founder: &founder{heard: map[string]wire.HelloAck{}}}
	l.scheduled.Store(true) // its turns are taken below
	fc := &fakeConn{stuck: true}
	c := &conn{gc: fc, port: &port{}, side: side, state: connHello}
	fc.closed = func() { l.closed(c) }
	c.session = wire.NewSession(wire.SessionConfig{Side: side, Accepts: true}, 0)
	l.conns.add(c)
	l.conns.waiting++
	for piece := range slices.Chunk(slices.Clone(b), size) {
		if c.state == connDead {
			break
		}
		fc.in = piece
		l.traffic(c)
		l.flush()
		if most := max(len(b)*2, wire.FrameHeaderBytes) + fc.out.Len() + outboundFloor; l.conns.held > most {
			t.Fatalf("%d bytes held for %d sent", l.conns.held, len(b))
		}
	}
	for n := 0; n < fc.out.Len(); { // all that it says is frames
		fr, err := wire.ParseFrame(fc.out.Bytes()[n:], wire.MaxFrameBytes)
		if err != nil {
			t.Fatalf("answer %x: %v", fc.out.Bytes()[n:], err)
		}
		n += fr.Size
	}
	l.closed(c)
	if l.conns.open != 0 || l.conns.held != 0 || l.conns.waiting != 0 || l.pending != 0 || len(l.conns.callers) != 0 {
		t.Fatalf("left behind: %d open, %d held, %d waiting, %d pending, %d callers", l.conns.open, l.conns.held, l.conns.waiting, l.pending, len(l.conns.callers))
	}
	return fc.out.Bytes()
}
