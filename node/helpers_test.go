package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dnode-engine/dnode/wire"
)

const testPatience = 20 * time.Second

func TestMain(m *testing.M) {
	if v := os.Getenv(serveEnv); v != "" {
		serveAsVictim(v)
		return
	}
	if f := os.Getenv(floodEnv); f != "" {
		attackAsFlood(f)
		return
	}
	goleak.VerifyTestMain(m, background()...)
}

// background are goroutines that importing gnet starts for good.
func background() []goleak.Option {
	return []goleak.Option{
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).purgeStaleWorkers"),
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).ticktock"),
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*goWorker).run.func1"),
	}
}

// testLog collects a node's log for the test that owns it.
type testLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (w *testLog) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(p)
}

func (w *testLog) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

func (w *testLog) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// testConfig is a node on loopback with free ports, small segments and timers
// that are fast but leave a busy machine some air.
func testConfig(t *testing.T, name string) Config {
	t.Helper()
	w := &testLog{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, w)
		}
	})
	return Config{
		Name: name, DataDir: t.TempDir(), Listen: "127.0.0.1:0", PeerListen: "127.0.0.1:0", HTTP: "127.0.0.1:0",
		SegmentBytes: wire.MinSegmentBytes, Logger: w.logger(),
		ElectionTicks: 200, HeartbeatTicks: 3, // a disk may be slow for that long before it hangs
	}
}

func start(t *testing.T, cfg Config) *Node {
	t.Helper()
	n, err := Start(t.Context(), cfg)
	for range 5 { // a port that this test gave back may be in use for a moment by another
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
		n, err = Start(t.Context(), cfg)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Kill)
	return n
}

func shutdown(t *testing.T, n *Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testPatience)
	defer cancel()
	if err := n.Shutdown(ctx); err != nil {
		t.Fatalf("shutdown: %v", err)
	}
}

// eventually polls until cond says nil, and fails with its last error.
func eventually(t *testing.T, what string, cond func() error) {
	t.Helper()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	deadline := time.After(testPatience)
	for {
		err := cond()
		if err == nil {
			return
		}
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("%s: still %v after %v", what, err, testPatience)
		}
	}
}

// raw is a client that speaks frames and nothing else.
type raw struct {
	net.Conn
	buf []byte
	id  uint64
}

func dialRaw(addr string) (*raw, error) {
	c, err := net.DialTimeout("tcp", addr, testPatience)
	if err != nil {
		return nil, err
	}
	return &raw{Conn: c}, c.SetDeadline(time.Now().Add(testPatience))
}

func (r *raw) hello(h wire.Hello) (wire.HelloAck, error) {
	if h.Version == 0 {
		h.Version, h.MinVersion = wire.Version, wire.MinVersion
	}
	if _, err := r.Write(wire.AppendFrame(nil, wire.FrameHello, 0, wire.AppendHello(nil, &h))); err != nil {
		return wire.HelloAck{}, err
	}
	f, err := r.next()
	if err != nil {
		return wire.HelloAck{}, err
	}
	if f.Type != wire.FrameHelloAck {
		return wire.HelloAck{}, fmt.Errorf("hello answered by %v", f.Type)
	}
	return wire.ParseHelloAck(f.Body)
}

// next returns the next frame, an error frame as the *wire.Error in it. The
// frame is valid until the next call.
func (r *raw) next() (wire.Frame, error) {
	r.buf = append(r.buf[:0], make([]byte, wire.FrameHeaderBytes)...)
	if _, err := io.ReadFull(r, r.buf); err != nil {
		return wire.Frame{}, err
	}
	h, err := wire.ParseHeader(r.buf, wire.MaxAppendBytes)
	if err != nil {
		return wire.Frame{}, err
	}
	r.buf = append(r.buf, make([]byte, h.Size-len(r.buf))...)
	if _, err := io.ReadFull(r, r.buf[wire.FrameHeaderBytes:]); err != nil {
		return wire.Frame{}, err
	}
	f, err := wire.ParseFrame(r.buf, wire.MaxAppendBytes)
	if err != nil {
		return f, err
	}
	if f.Type == wire.FrameError {
		e, err := wire.ParseError(f.Body)
		if err != nil {
			return f, err
		}
		return f, e
	}
	return f, nil
}

func (r *raw) putFrame(key, value string) []byte {
	r.id++
	return wire.AppendFrame(nil, wire.FrameWrite, r.id, wire.AppendWrite(nil, wire.Stamp{}, wire.AppendPut(nil, []byte(key), []byte(value))))
}

func (r *raw) getFrame(c wire.Consistency, key string) []byte {
	r.id++
	return wire.AppendFrame(nil, wire.FrameRead, r.id, wire.AppendRead(nil, c, wire.AppendGet(nil, []byte(key))))
}

func (r *raw) put(key, value string) error {
	if _, err := r.Write(r.putFrame(key, value)); err != nil {
		return err
	}
	f, err := r.next()
	if err != nil {
		return err
	}
	_, result, err := wire.ParseReply(f.Body)
	if err != nil {
		return err
	}
	if f.Type != wire.FrameWriteReply || f.ID != r.id || len(result) == 0 || wire.Status(result[0]) != wire.StatusOK {
		return fmt.Errorf("put answered by %v id %d result %x", f.Type, f.ID, result)
	}
	return nil
}

var errNoKey = errors.New("no such key")

func (r *raw) get(c wire.Consistency, key string) (string, error) {
	if _, err := r.Write(r.getFrame(c, key)); err != nil {
		return "", err
	}
	f, err := r.next()
	if err != nil {
		return "", err
	}
	_, result, err := wire.ParseReply(f.Body)
	if err != nil {
		return "", err
	}
	if len(result) > 0 && wire.Status(result[0]) == wire.StatusNotFound {
		return "", errNoKey
	}
	if len(result) == 0 || wire.Status(result[0]) != wire.StatusOK {
		return "", fmt.Errorf("get answered by %v id %d result %x", f.Type, f.ID, result)
	}
	it, _, err := wire.ParseItem(result[1:])
	return string(it.Value), err
}

// connect dials a client port and says hello.
func connect(addr string) (*raw, error) {
	c, err := dialRaw(addr)
	if err != nil {
		return nil, err
	}
	if _, err := c.hello(wire.Hello{Side: wire.ClientSide, Name: "test"}); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func mustConnect(t *testing.T, addr string) *raw {
	t.Helper()
	c, err := connect(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func isCode(err error, code wire.Code) bool {
	var e *wire.Error
	return errors.As(err, &e) && e.Code == code
}

// reserve takes free ports on loopback and keeps them until each is given back:
// other tests run beside this one and take ports, too. They are below those that
// the kernel hands out by itself, which it would do before their node is started.
func reserve(t *testing.T, n int) (addrs []string, giveBack []func()) {
	t.Helper()
	for tries := 0; len(addrs) < n; tries++ {
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 6000+rand.IntN(6000)))
		switch {
		case err == nil:
			addrs = append(addrs, ln.Addr().String())
			giveBack = append(giveBack, func() { _ = ln.Close() })
			t.Cleanup(giveBack[len(giveBack)-1])
		case tries > 1000:
			t.Fatalf("no free port: %v", err)
		}
	}
	return addrs, giveBack
}

// testCluster is a number of nodes in one process.
type testCluster struct {
	t     *testing.T
	cfgs  []Config
	nodes []*Node // nil: down
}

// newCluster starts n nodes that found a cluster.
func newCluster(t *testing.T, n int, change func(i int, cfg *Config)) *testCluster {
	t.Helper()
	c := &testCluster{t: t}
	addrs, giveBack := reserve(t, n)
	list := map[string]string{}
	for i, a := range addrs {
		list["n"+strconv.Itoa(i+1)] = a
	}
	for i, a := range addrs {
		cfg := testConfig(t, "n"+strconv.Itoa(i+1))
		cfg.PeerListen, cfg.Cluster, cfg.ElectionTicks = a, list, 20
		if change != nil {
			change(i, &cfg)
		}
		c.cfgs = append(c.cfgs, cfg)
		giveBack[i]()
		c.nodes = append(c.nodes, start(t, cfg))
	}
	return c
}

// leader waits until one node leads and returns it.
func (c *testCluster) leader() *Node {
	c.t.Helper()
	var lead *Node
	eventually(c.t, "leader", func() error {
		for _, n := range c.nodes {
			if n == nil {
				continue
			}
			if st := n.Status(); st.Role == wire.RoleLeader && st.Applied >= 2 {
				lead = n
				return nil
			}
		}
		return errors.New("no leader")
	})
	return lead
}

func (c *testCluster) index(n *Node) int {
	for i, o := range c.nodes {
		if o == n {
			return i
		}
	}
	c.t.Fatalf("node is not in the cluster")
	return -1
}

// put writes through whoever leads, again and again until it is acknowledged.
func (c *testCluster) put(key, value string) {
	c.t.Helper()
	eventually(c.t, "put "+key, func() error {
		conn, err := connect(c.leader().ClientAddr())
		if err != nil {
			return err
		}
		defer conn.Close()
		return conn.put(key, value)
	})
}

func (c *testCluster) wantGet(n *Node, level wire.Consistency, key, want string) {
	c.t.Helper()
	eventually(c.t, "get "+key, func() error {
		conn, err := connect(n.ClientAddr())
		if err != nil {
			return err
		}
		defer conn.Close()
		got, err := conn.get(level, key)
		if err == nil && got != want {
			err = fmt.Errorf("got %q, want %q", got, want)
		}
		return err
	})
}
