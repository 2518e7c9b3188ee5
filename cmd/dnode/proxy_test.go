package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dnode-engine/dnode/client"
)

// What a way to a node may do to those who use it.
const (
	wayOpen    = iota
	wayDrops   // bytes are swallowed, in both directions
	wayForgets // requests arrive, answers do not
	wayDrips   // one byte at a time
	wayDelays  // every piece arrives late
	wayCuts    // connections are closed, new ones too
	ways
)

// way stands in front of a node's client port. All but that port is left alone:
// the nodes go on as if nothing was wrong.
type way struct {
	addr, to string
	mode     atomic.Int32
	life     context.Context
	mu       sync.Mutex
	conns    map[net.Conn]bool
}

func newWay(t *testing.T, to string) *way {
	w := &way{to: to, life: t.Context(), conns: map[net.Conn]bool{}}
	w.addr = listen(t, w.serve)
	return w
}

func (w *way) serve(nc net.Conn) {
	defer nc.Close()
	if w.mode.Load() == wayCuts {
		return
	}
	there, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	w.mu.Lock()
	w.conns[nc], w.conns[there] = true, true
	w.mu.Unlock()
	var both sync.WaitGroup
	pass := func(dst, src net.Conn, answers bool) {
		w.pass(dst, src, answers)
		dst.Close()
		src.Close()
	}
	both.Go(func() { pass(there, nc, false) })
	both.Go(func() { pass(nc, there, true) })
	both.Wait()
	w.mu.Lock()
	delete(w.conns, nc)
	delete(w.conns, there)
	w.mu.Unlock()
}

// pass carries bytes as the mode of the moment says. A stream that has lost
// some is never continued: TCP would not.
func (w *way) pass(dst io.Writer, src io.Reader, answers bool) {
	b := make([]byte, 32<<10)
	lossy := false
	for {
		n, err := src.Read(b)
		if err != nil {
			return
		}
		mode, step := w.mode.Load(), n
		lossy = lossy || mode == wayDrops || mode == wayForgets && answers
		switch {
		case lossy:
			continue
		case mode == wayDrips:
			step = 1
		case mode == wayDelays:
			rest(w.life, 200*time.Millisecond)
		}
		for i := 0; i < n; i += step {
			if _, err := dst.Write(b[i:min(i+step, n)]); err != nil {
				return
			}
		}
	}
}

func (w *way) set(mode int) {
	w.mode.Store(int32(mode))
	if mode != wayCuts {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for nc := range w.conns {
		nc.Close()
	}
}

// walker writes each of its keys once and reads its own counter back.
type walker struct {
	t      *testing.T
	id     int
	client *client.Client
	acked  []string
	failed []string
	maybe  []string
}

func (k *walker) walk(ctx context.Context) {
	counter, last := fmt.Sprintf("counter/%d", k.id), 0
	for n := 1; ctx.Err() == nil; n++ {
		key := fmt.Sprintf("once/%d/%d", k.id, n)
		switch err := k.do(func(ctx context.Context) error { _, err := k.client.Put(ctx, key, nil); return err }); {
		case err == nil:
			k.acked = append(k.acked, key)
		case client.OutcomeUnknown(err):
			k.maybe = append(k.maybe, key)
		case client.SafeToRetry(err):
			k.failed = append(k.failed, key)
		default:
			k.t.Errorf("put: %v", err)
		}
		if k.do(func(ctx context.Context) error {
			_, err := k.client.Put(ctx, counter, strconv.AppendInt(nil, int64(n), 10))
			return err
		}) == nil {
			last = n
		}
		var it client.Item
		err := k.do(func(ctx context.Context) (err error) { it, err = k.client.Get(ctx, counter); return err })
		if got, _ := strconv.Atoi(string(it.Value)); err == nil && got < last || errors.Is(err, client.ErrNotFound) && last > 0 {
			k.t.Errorf("read %q, %v after %d was acknowledged", it.Value, err, last)
		}
	}
}

// do runs one call, which must end in its time.
func (k *walker) do(call func(ctx context.Context) error) error {
	const limit = time.Second
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	began := time.Now()
	err := call(ctx)
	if late := time.Since(began) - limit; late > limit {
		k.t.Errorf("a call ended %v late: %v", late, err)
	}
	return err
}

// check looks for what was written: acknowledged once, failed never, unknown at
// most once.
func (k *walker) check(ctx context.Context, c *client.Client) {
	f := func(keys []string, least, most uint64) {
		for _, key := range keys {
			it, err := c.Get(ctx, key)
			if err != nil && !errors.Is(err, client.ErrNotFound) {
				k.t.Fatal(err)
			}
			if it.Version < least || it.Version > most {
				k.t.Errorf("%s was written %d times, want %d to %d", key, it.Version, least, most)
			}
		}
	}
	f(k.acked, 1, 1)
	f(k.failed, 0, 0)
	f(k.maybe, 0, 1)
}

// newClusterBehind starts three nodes that tell clients the addresses of ways.
func newClusterBehind(t *testing.T) (*cluster, []*way) {
	ports := freePorts(t, 6)
	c := &cluster{t: t, binary: binary}
	var at []*way
	var members []string
	for i := range 3 {
		w := newWay(t, ports[2*i])
		n := &clusterNode{name: fmt.Sprintf("n%d", i+1), dir: filepath.Join(t.TempDir(), "data"), client: w.addr, peer: ports[2*i+1]}
		at, c.nodes, members = append(at, w), append(c.nodes, n), append(members, n.name+"="+n.peer)
	}
	for i, n := range c.nodes {
		n.process = start(t, "serve", "--name", n.name, "--data-dir", n.dir, "--listen", at[i].to, "--advertise", n.client,
			"--peer-listen", n.peer, "--http", "", "--cluster", strings.Join(members, ","))
	}
	return c, at
}

// The ways to the leader, and to all, fail in every manner, and the leader is
// stopped now and then: each outcome is the one reported, nothing is carried out
// twice, no read is older than what its reader was told, and nothing is left
// running.
func TestUnderFire(t *testing.T) {
	c, at := newClusterBehind(t)
	calm := c.open() // asks only while the ways are open
	before := goleak.IgnoreCurrent()
	ctx, stop := context.WithTimeout(t.Context(), 60*time.Second)
	defer stop()
	walking, halt := context.WithCancel(ctx)
	cl, err := client.Open(ctx, client.Config{Endpoints: strings.Split(c.endpoints(), ",")})
	if err != nil {
		t.Fatal(err)
	}
	var walkers []*walker
	var wg sync.WaitGroup
	for id := range 8 {
		k := &walker{t: t, id: id, client: cl}
		walkers = append(walkers, k)
		wg.Go(func() { k.walk(walking) })
	}
	for mode := wayOpen + 1; mode < ways; mode++ {
		for _, all := range []bool{false, true} {
			leader := c.leader(calm)
			for i, n := range c.nodes {
				if all || n == leader {
					at[i].set(mode)
				}
			}
			rest(ctx, 700*time.Millisecond)
			for _, w := range at {
				w.set(wayCuts) // what has lost bytes does not go on
				w.set(wayOpen)
			}
			rest(ctx, 200*time.Millisecond)
		}
		leader := c.leader(calm).cmd.Process
		_ = leader.Signal(syscall.SIGSTOP)
		rest(ctx, 700*time.Millisecond)
		_ = leader.Signal(syscall.SIGCONT)
	}
	halt()
	wg.Wait()
	acked, failed, maybe := 0, 0, 0
	for _, k := range walkers {
		k.check(ctx, calm)
		acked, failed, maybe = acked+len(k.acked), failed+len(k.failed), maybe+len(k.maybe)
	}
	if t.Logf("%d acknowledged, %d failed, %d unknown", acked, failed, maybe); acked < 500 || maybe == 0 {
		t.Error("the ordeal was none")
	}
	cl.Close()
	for _, w := range at {
		w.set(wayCuts)
	}
	calm.Close()
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}
