package load

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/client"
	"github.com/dnode-engine/dnode/wire"
)

// tcpNode is one node over real TCP that keeps values in a map.
type tcpNode struct {
	mu     sync.Mutex
	values map[string][]byte
	conns  int
	reads  int
}

func startNode(t testing.TB) (*tcpNode, []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &tcpNode{values: map[string][]byte{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { n.serve(nc) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return n, []string{l.Addr().String()}
}

func (n *tcpNode) serve(nc net.Conn) {
	defer nc.Close()
	in, from := make([]byte, 0, 256<<10), 0
	out := make([]byte, 0, 256<<10)
	for {
		in = in[:copy(in, in[from:])]
		from = 0
		k, err := nc.Read(in[len(in):cap(in)])
		if err != nil {
			return
		}
		in = in[:len(in)+k]
		out = out[:0]
		for {
			f, err := wire.ParseFrame(in[from:], wire.MaxFrameBytes)
			if err != nil {
				break
			}
			from += f.Size
			out = n.answer(out, f)
		}
		if _, err := nc.Write(out); err != nil {
			return
		}
	}
}

func (n *tcpNode) answer(out []byte, f wire.Frame) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	start := len(out)
	switch f.Type {
	case wire.FrameHello:
		n.conns++
		ack := wire.HelloAck{Version: 1, MaxFrame: wire.MaxFrameBytes, Requests: wire.MaxConnRequests, Bytes: wire.MaxConnBytes}
		return wire.EndFrame(wire.AppendHelloAck(wire.BeginFrame(out, wire.FrameHelloAck, 0), &ack), start)
	case wire.FrameStatus:
		st := wire.NodeStatus{Name: "n1", ID: 1, Leader: 1, Role: wire.RoleLeader, State: wire.StateOK}
		return wire.EndFrame(wire.AppendStatus(wire.BeginFrame(out, wire.FrameStatusReply, f.ID), &st), start)
	}
	out = wire.AppendReplyHeader(wire.BeginFrame(out, f.Type+1, f.ID), 7)
	if f.Type == wire.FrameWrite {
		_, cmd, _ := wire.ParseWrite(f.Body)
		c, _ := wire.ParseCommand(cmd)
		v, known := n.values[string(c.Key)]
		v = append(v[:0], c.Value...)
		if !known || cap(v) > len(v) {
			n.values[string(c.Key)] = v[:len(v):len(v)]
		}
		return wire.EndFrame(append(out, byte(wire.StatusOK)), start)
	}
	n.reads++
	_, query, _ := wire.ParseRead(f.Body)
	q, _ := wire.ParseQuery(query)
	v, known := n.values[string(q.Key)]
	if !known {
		return wire.EndFrame(append(out, byte(wire.StatusNotFound)), start)
	}
	out = wire.AppendItem(append(out, byte(wire.StatusOK)), wire.Item{ModRevision: 1, Version: 1, Key: q.Key, Value: v})
	return wire.EndFrame(out, start)
}

// The generator drives real clients over real connections: one each.
func TestOverTCP(t *testing.T) {
	f := func(op Op, level client.Consistency) {
		t.Helper()
		n, endpoints := startNode(t)
		res, err := Run(t.Context(), Config{
			Op: op, Endpoints: endpoints, Conns: 10, Clients: 100, Total: 20_000, Keys: 500, Consistency: level,
		})
		if err != nil || res.Ops != 20_000 || res.Errors != 0 {
			t.Errorf("%s: %+v, %v", op, res, err)
		}
		if n.conns != 10 || len(n.values) != 500 {
			t.Errorf("%s: %d connections, %d keys", op, n.conns, len(n.values))
		}
		if res.InFlight < 80 || res.InFlight > 101 {
			t.Errorf("%s: %.1f in flight, want about 100", op, res.InFlight)
		}
	}
	f(Put, 0)
	f(Get, 0)
	f(Get, client.Stale)
}

// Stale gets are spread over the endpoints.
func TestStaleOverAll(t *testing.T) {
	n1, a := startNode(t)
	n2, b := startNode(t)
	res, err := Run(t.Context(), Config{
		Op: Get, Endpoints: append(a, b...), Conns: 4, Clients: 4, Total: 400, Filled: true, Consistency: client.Stale,
	})
	if err != nil || res.ErrorsByCode["not found"] != 400 {
		t.Errorf("%+v, %v", res, err)
	}
	if n1.reads == 0 || n2.reads == 0 || n1.reads+n2.reads != 400 {
		t.Errorf("%d reads at one node and %d at the other, want both", n1.reads, n2.reads)
	}
}

// BenchmarkPut measures what an operation costs the generator and the client,
// a trivial node on the same cores included.
func BenchmarkPut(b *testing.B) {
	f := func(name string, conns, clients int) {
		b.Run(name, func(b *testing.B) {
			_, endpoints := startNode(b)
			b.ReportAllocs()
			res, err := Run(b.Context(), Config{
				Op: Put, Endpoints: endpoints, Conns: conns, Clients: clients, Total: int64(b.N), WarmUp: 200 * time.Millisecond,
			})
			if err != nil || res.Errors > 0 {
				b.Fatal(res, err)
			}
			b.ReportMetric(res.OpsPerSec, "op/s")
			b.ReportMetric(res.P50Us, "p50-µs")
			b.ReportMetric(res.P99Us, "p99-µs")
			b.ReportMetric(res.InFlight, "in-flight")
		})
	}
	f("1-1", 1, 1)
	f("1-1000", 1, 1000)
	f("10-100", 10, 100)
	f("100-1000", 100, 1000)
}
