package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dnode-engine/dnode/wire"
)

// liars are three nodes that speak the protocol and lie, each lie drawn from
// data; when that is used up they tell the truth. The value of a key is the
// key, in every answer, so that an answer given to the wrong call shows.
//
// What they certainly know is which writes reached them, and which of those
// they have called refused.
type liars struct {
	mu      sync.Mutex
	data    []byte
	reached map[string]int   // writes by key, but for those properly refused
	failed  map[string]error // those that the client has called failed
	late    []byte           // an answer kept back
	ended   map[string]int   // writes by how they ended
	wg      sync.WaitGroup
	life    context.Context
}

// draw returns a number below n, zero once the data is used up.
func (l *liars) draw(n int) int {
	if len(l.data) == 0 {
		return 0
	}
	b := int(l.data[0])
	l.data = l.data[1:]
	return b % n
}

func pick[T any](l *liars, of ...T) T { return of[l.draw(len(of))] }

// fib returns the truth, or one of the lies if lies are wanted.
func fib[T any](l *liars, lies bool, truth T, of ...T) T {
	if lies && l.draw(4) == 1 {
		return pick(l, of...)
	}
	return truth
}

func (l *liars) dial(ctx context.Context, addr string) (net.Conn, error) {
	switch {
	case strings.HasPrefix(addr, "black"): // swallows everything
		<-ctx.Done()
		return nil, ctx.Err()
	case !strings.HasPrefix(addr, "n"):
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	out := make(chan []byte, 1000)
	context.AfterFunc(l.life, func() { theirs.Close() })
	l.wg.Go(func() {
		for b := range out {
			if b == nil {
				theirs.Close()
			}
			_, _ = theirs.Write(b)
		}
	})
	l.wg.Go(func() {
		defer close(out)
		l.serve(theirs, out)
	})
	return &roughConn{ours, l}, nil
}

// roughConn is a connection that now and then hangs for a while, or breaks in the
// middle of a write.
type roughConn struct {
	net.Conn
	liars *liars
}

func (r *roughConn) Write(b []byte) (int, error) {
	l := r.liars
	l.mu.Lock()
	trouble, whole := l.draw(24), len(b)
	if trouble == 1 {
		whole = len(b) * l.draw(256) / 256
	}
	l.mu.Unlock()
	switch trouble {
	case 1:
		n, _ := r.Conn.Write(b[:whole])
		r.Close()
		return n, io.ErrClosedPipe
	case 2:
		select {
		case <-time.After(300 * time.Millisecond):
		case <-l.life.Done():
		}
	}
	return r.Conn.Write(b)
}

func (l *liars) serve(nc net.Conn, out chan<- []byte) {
	var buf []byte
	chunk := make([]byte, 4096)
	for {
		n, err := nc.Read(chunk)
		if err != nil {
			return
		}
		buf = append(buf, chunk[:n]...)
		for {
			f, err := wire.ParseFrame(buf, wire.MaxFrameBytes)
			if err != nil {
				break
			}
			for _, b := range l.answer(f) {
				select {
				case out <- b:
				default: // the client does not read
				}
			}
			buf = buf[f.Size:]
		}
	}
}

// answer returns frames; nil among them closes the connection.
func (l *liars) answer(f wire.Frame) [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.Type == wire.FrameHello {
		return [][]byte{l.hello()}
	}
	key := keyOf(f)
	lie := l.draw(40)
	if lie == 1 { // a refusal, properly said
		e := l.failure()
		if f.Type == wire.FrameWrite && !e.Code.NotCarriedOut() {
			l.reached[key]++
		}
		return [][]byte{wire.AppendErrorFrame(nil, f.ID, e)}
	}
	if f.Type == wire.FrameWrite {
		l.reached[key]++
	}
	honest := wire.AppendFrame(nil, f.Type+1, f.ID, l.body(f, lie == 2 || lie > 32))
	switch lie {
	case 3: // to another call
		id := pick(l, f.ID+1, f.ID-1, f.ID+1<<32, f.ID-1<<32, 0, math.MaxUint64, f.ID&math.MaxUint32)
		return [][]byte{wire.AppendFrame(nil, f.Type+1, id, l.body(f, false))}
	case 4: // of another type
		typ := pick(l, wire.FrameReadReply, wire.FrameWriteReply, wire.FrameStatusReply, wire.FrameHelloAck, wire.FrameHello, wire.FrameAppend, wire.FrameType(200))
		return [][]byte{wire.AppendFrame(nil, typ, f.ID, l.body(f, false))}
	case 5:
		return [][]byte{honest, honest}
	case 6:
		return nil
	case 7: // kept back, and given behind another
		late := l.late
		l.late = honest
		if late == nil {
			return nil
		}
		return [][]byte{honest, late}
	case 8:
		return [][]byte{honest[:l.draw(len(honest))], nil}
	case 9:
		return [][]byte{[]byte("HTTP/1.1 400 Bad Request\r\n\r\n")}
	case 10:
		return [][]byte{wire.AppendErrorFrame(nil, 0, l.failure())}
	case 11:
		return [][]byte{wire.AppendFrame(nil, wire.FrameError, f.ID, l.data[:min(len(l.data), 9)])}
	default:
		return [][]byte{honest}
	}
}

// hello answers the client's, mostly well enough to go on.
func (l *liars) hello() []byte {
	ack := wire.HelloAck{Version: wire.Version, Name: "n1", MaxFrame: wire.MaxFrameBytes, Requests: 100, Bytes: 1 << 20}
	typ := wire.FrameHelloAck
	switch l.draw(9) {
	case 1:
		ack.Requests = pick[uint32](l, 0, 1, 2, math.MaxUint32)
	case 2:
		ack.Bytes = pick[uint32](l, 0, 1, 200, math.MaxUint32)
	case 3:
		ack.MaxFrame = pick[uint32](l, 0, 30, 100, math.MaxUint32)
	case 4:
		ack.Version = pick[uint16](l, 0, 2, math.MaxUint16)
	case 5:
		ack.Cluster[0] = byte(l.draw(3))
	case 6:
		typ = pick(l, wire.FrameStatusReply, wire.FrameReadReply, wire.FrameHello)
	case 7:
		return wire.AppendErrorFrame(nil, 0, l.failure())
	}
	return wire.AppendFrame(nil, typ, 0, wire.AppendHelloAck(nil, &ack))
}

func (l *liars) addr() string {
	return pick(l, "n1:1", "n2:1", "n3:1", "ghost:9", fmt.Sprintf("black%d:1", l.draw(256)), "not an address", "", ":", fmt.Sprintf("ghost%d:1", l.draw(256)))
}

func (l *liars) failure() *wire.Error {
	return &wire.Error{
		Code: wire.Code(1 + l.draw(25)), Leader: l.addr(),
		RetryAfterMs: pick[uint32](l, 0, 1, math.MaxUint32), Text: strings.Repeat("x", l.draw(100)),
	}
}

// body is the body of an answer; lies are about single fields of it.
func (l *liars) body(f wire.Frame, lies bool) []byte {
	if f.Type == wire.FrameStatus {
		return l.status(lies)
	}
	rev := fib[wire.Index](l, lies, 9, 0, math.MaxUint64)
	status := fib(l, lies, wire.StatusOK, wire.StatusNotFound, wire.StatusConditionFailed, wire.StatusRefused, 4, 255)
	b := append(wire.AppendReplyHeader(nil, rev), byte(status))
	if f.Type == wire.FrameRead {
		_, query, _ := wire.ParseRead(f.Body)
		q, _ := wire.ParseQuery(query)
		if q.Op == wire.QueryGet {
			return l.item(b, string(q.Key), lies)
		}
		return l.page(b, &q, lies)
	}
	_, command, _ := wire.ParseWrite(f.Body)
	cmd, _ := wire.ParseCommand(command)
	switch {
	case status == wire.StatusConditionFailed:
		return l.item(append(b, fib[byte](l, lies, 1, 0, 2)), string(cmd.Key), lies)
	case cmd.Op == wire.OpBatch:
		n := fib(l, lies, cmd.Count, cmd.Count+1, 0, math.MaxUint32)
		b = append(b, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
		for range cmd.Count {
			b = wire.AppendBatchItem(b, []byte{fib[byte](l, lies, 0, 1, 3, 255)})
		}
	case lies:
		b = append(b, make([]byte, l.draw(4))...)
	}
	return b
}

// item appends an item whose value is its key, maybe of another key, or cut.
func (l *liars) item(b []byte, key string, lies bool) []byte {
	start := len(b)
	it := wire.Item{
		CreateRevision: fib[wire.Index](l, lies, 3, 0, math.MaxUint64), ModRevision: fib[wire.Index](l, lies, 5, 0, math.MaxUint64),
		Version: 2, Key: []byte(fib(l, lies, key, key+"x", "", "get 0", "get 1", strings.Repeat("k", wire.MaxKeyBytes+1))),
	}
	cut := fib(l, lies, 0, 1, 20, -1)
	it.Value = it.Key
	b = wire.AppendItem(b, it)
	if cut < 0 {
		return append(b, 0)
	}
	return b[:max(start, len(b)-cut)]
}

// page answers a scan with the keys of the range that the test asks for.
func (l *liars) page(b []byte, q *wire.Query, lies bool) []byte {
	honest := []string{"scan 1", "scan 2", "scan 3"}[:min(q.Limit, 3)]
	more := fib[byte](l, lies, 0, 1, 2)
	keys := fib(l, lies, honest, []string{"scan 2", "scan 1"}, []string{"scan 1", "scan 1"}, []string{"scan 1", "scan 2", "scan 3"},
		[]string{"a", "scan 1"}, []string{"scan 1", "z"}, []string{""}, nil)
	count := uint32(len(keys))
	count = fib(l, lies, count, 0, 1, count+1, wire.MaxScanKeys, math.MaxUint32)
	if q.Flags&wire.ScanCountOnly != 0 {
		keys = keys[:min(len(keys), int(more))]
	}
	b = append(b, more, byte(count), byte(count>>8), byte(count>>16), byte(count>>24))
	for _, key := range keys {
		b = l.item(b, key, lies && l.draw(8) == 1)
	}
	return b
}

func (l *liars) status(lies bool) []byte {
	st := wire.NodeStatus{Name: "n1", ID: 1, Role: wire.RoleLeader, State: wire.StateOK, Term: 1, Leader: 1}
	st.Role = fib(l, lies, st.Role, wire.RoleFollower, 0, 77)
	st.State = fib(l, lies, st.State, wire.StateFenced, 0, 77)
	st.Term = fib(l, lies, st.Term, 0, math.MaxUint64)
	st.Leader = fib(l, lies, st.Leader, 2, 0, math.MaxUint64)
	for i := range fib(l, lies, 0, 1, 2, wire.MaxMembers, wire.MaxMembers+1) {
		st.Members = append(st.Members, wire.Member{
			ID: wire.NodeID(i + 1), Name: fmt.Sprint("n", i), Role: wire.Voter, PeerAddr: "p:1", ClientAddr: l.addr(),
		})
	}
	return wire.AppendStatus(nil, &st)
}

// keyOf returns the key of a write of the test, the first of a batch.
func keyOf(f wire.Frame) string {
	if f.Type != wire.FrameWrite {
		return ""
	}
	_, command, err := wire.ParseWrite(f.Body)
	if err != nil {
		panic(err)
	}
	cmd, err := wire.ParseCommand(command)
	if err == nil && cmd.Op == wire.OpBatch {
		cmd, _, err = wire.NextBatchItem(cmd.Batch)
	}
	if err != nil {
		panic(err)
	}
	return string(cmd.Key)
}

// underLies runs calls of every kind against liars, five at a time. It must be
// called in a bubble of synctest, which notices what is left behind.
func underLies(t *testing.T, data []byte, ended map[string]int) {
	life, stop := context.WithCancel(context.Background())
	l := &liars{data: data, reached: make(map[string]int), failed: make(map[string]error), ended: ended, life: life}
	defer l.inTheEnd(t)
	defer l.wg.Wait()
	defer stop()
	ctx, cancel := context.WithTimeout(life, 2*time.Second)
	defer cancel()
	c, err := Open(ctx, Config{Endpoints: []string{"n1:1", "n2:1", "n3:1"}, Dial: l.dial})
	if err != nil {
		return
	}
	defer c.Close()
	var calls sync.WaitGroup
	began := time.Now()
	for i := range 5 {
		calls.Go(func() { l.callAll(ctx, t, c, i) })
	}
	calls.Wait()
	if took := time.Since(began); took > 2*time.Second+sweepEvery {
		t.Errorf("calls ended %v after their time was over", took-2*time.Second)
	}
	nothingHeld(t, c)
}

// nothingHeld checks what a client holds when no call is made: nothing but its
// own questions, whose credits add up, and buffers of a frame or two.
func nothingHeld(t *testing.T, c *Client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.nodes) > len(c.ring)+maxNodes {
		t.Errorf("%d nodes are remembered", len(c.nodes))
	}
	if c.pending != 0 || c.heldBytes != 0 {
		t.Errorf("%d calls of %d bytes are counted", c.pending, c.heldBytes)
	}
	left := func(where string, q *call) {
		if q != nil && !q.once {
			t.Errorf("a call is left %s: %s of phase %d", where, q.op, q.phase)
		}
	}
	for q := c.active.first; q != nil; q = q.active.next {
		left("active", q)
	}
	left("parked", c.parked.first)
	for addr, n := range c.nodes {
		left("queued at "+addr, n.queue.first)
		k := n.conn
		if k == nil {
			continue
		}
		used, size, free := 0, 0, 0
		for i := k.free; i > 0; i = k.slots[i-1].next {
			free++
		}
		for i := range k.slots {
			if s := &k.slots[i]; s.used {
				used, size = used+1, size+s.bytes
				left("in flight to "+addr, s.call)
			}
		}
		if used != k.inFlight || size != k.bytes || used+free != len(k.slots) {
			t.Errorf("%d requests of %d bytes in flight, counted %d, %d; %d of %d slots free", used, size, k.inFlight, k.bytes, free, len(k.slots))
		}
		if len(k.buf) > 2*wire.MaxFrameBytes || cap(k.pending)+cap(k.spare) > wire.MaxConnBytes {
			t.Errorf("buffers of %d, %d, %d bytes", len(k.buf), cap(k.pending), cap(k.spare))
		}
	}
}

// callAll makes a call of every kind.
func (l *liars) callAll(ctx context.Context, t *testing.T, c *Client, i int) {
	key := func(op string) string { return fmt.Sprint(op, " ", i) }
	_, err := c.Put(ctx, key("put"), nil)
	l.honestly(t, key("put"), err)
	lieToGet(ctx, t, c, key("get"))
	_, _, err = c.Delete(ctx, key("del"))
	l.honestly(t, key("del"), err)
	lieToScan(ctx, t, c)
	_, err = c.CompareAndSet(ctx, key("cas"), Absent(), nil)
	l.honestly(t, key("cas"), err)
	if e := (*ConditionError)(nil); errors.As(err, &e) && e.Exists && string(e.Current.Value) != key("cas") {
		t.Errorf("the answer for %s was about %q", key("cas"), e.Current.Value)
	}
	_, _ = c.Status(ctx, []string{"", "n1:1", "n2:1"}[i%3])
	l.async(ctx, t, c, key("async"))
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	_, err = c.Put(short, key("short"), nil)
	l.honestly(t, key("short"), err)
	var b Batch
	b.Put(key("batch"), nil)
	b.Delete("x")
	_, err = c.Batch(ctx, &b)
	l.honestly(t, key("batch"), err)
}

// async makes a call whose end is told to a function.
func (l *liars) async(ctx context.Context, t *testing.T, c *Client, key string) {
	end := make(chan error, 1)
	err := c.PutAsync(ctx, key, nil, func(_ Revision, err error) { end <- err })
	if err == nil {
		err = <-end
	}
	l.honestly(t, key, err)
}

func lieToGet(ctx context.Context, t *testing.T, c *Client, key string) {
	it, err := c.Get(ctx, key)
	if err == nil && (it.Key != key || string(it.Value) != key || it.CreateRevision > it.ModRevision) {
		t.Errorf("get %s: %.40q %.40q, %d, %d", key, it.Key, it.Value, it.CreateRevision, it.ModRevision)
	}
	if OutcomeUnknown(err) {
		t.Errorf("a read of unknown outcome: %v", err)
	}
}

func lieToScan(ctx context.Context, t *testing.T, c *Client) {
	r := Range{Prefix: "scan", Limit: 2}
	last, n := "", 0
	for it, err := range c.Scan(ctx, r) {
		if err != nil {
			break
		}
		if n++; it.Key <= last || !strings.HasPrefix(it.Key, "scan") || string(it.Value) != it.Key || n > r.Limit {
			t.Errorf("scan: item %d is %+v, behind %q", n, it, last)
		}
		last = it.Key
	}
	if n, err := c.Count(ctx, r); err == nil && n < 0 {
		t.Errorf("counted %d", n)
	}
}

// honestly checks a write's end against what the liars know.
func (l *liars) honestly(t *testing.T, key string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	certain := err != nil && !OutcomeUnknown(err) && !errors.Is(err, ErrConditionFailed)
	switch {
	case err == nil || errors.Is(err, ErrConditionFailed):
		l.ended["done"]++
	case certain:
		l.ended["failed"]++
		l.failed[key] = err
	default:
		l.ended["unknown"]++
	}
}

// inTheEnd checks what became of the writes, now that nothing is on its way.
func (l *liars) inTheEnd(t *testing.T) {
	for key, n := range l.reached {
		if n > 1 {
			t.Errorf("%s was sent %d times, though it may have been carried out", key, n)
		}
		if err := l.failed[key]; err != nil {
			t.Errorf("%s may have been carried out and is called failed: %v", key, err)
		}
	}
}

// Whatever three nodes say, no call gets another's answer, ends late, or calls
// a write failed that may have been carried out; and nothing is left behind.
func TestLies(t *testing.T) {
	ended := make(map[string]int)
	for seed := range uint64(400) {
		data := make([]byte, 50+20*(seed%40))
		_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(data)
		synctest.Test(t, func(t *testing.T) { underLies(t, data, ended) })
		if t.Failed() {
			t.Fatalf("with seed %d", seed)
		}
	}
	if ended["done"] < 1000 || ended["failed"] < 100 || ended["unknown"] < 1000 {
		t.Errorf("the lies are too few or too many: %v", ended)
	}
}

func FuzzLies(f *testing.F) {
	f.Add([]byte{})
	for lie := range byte(14) {
		f.Add([]byte{0, 0, 0, lie, 1, 2, 3, lie, 4, 5, lie, 1, lie, 2, lie, 3, lie, 4})
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		synctest.Test(t, func(t *testing.T) { underLies(t, data, make(map[string]int)) })
	})
}
