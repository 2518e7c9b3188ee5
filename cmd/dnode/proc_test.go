package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/client"
)

// binary is the command under test, built once.
var binary string

func TestMain(m *testing.M) {
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "dnode-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "dnode")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "cannot build the command: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// process is one running command. It never outlives its test.
type process struct {
	cmd  *exec.Cmd
	out  lockedBuffer
	err  lockedBuffer
	done chan struct{} // closed when it has ended
}

// lockedBuffer may be read while a process still writes to it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs the binary and sees to its end, whatever happens to the test.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	return startOf(t, binary, args...)
}

// startOf runs another build of the command.
func startOf(t *testing.T, binary string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(binary, args...), done: make(chan struct{})}
	p.cmd.Dir = t.TempDir()
	p.cmd.Env = append(os.Environ(), "NO_COLOR=1")
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if said := p.err.String(); strings.Contains(said, "panic: ") || strings.Contains(said, "DATA RACE") {
			t.Errorf("a process fell over: %s", said)
		}
		if t.Failed() {
			t.Logf("dnode %s\n%s", strings.Join(args, " "), tail(p.err.String(), 4000))
		}
	})
	return p
}

// kill ends the process with signal 9 and waits for its end.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// ended reports whether the process is no more.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// wait returns the exit code, or fails the test when the process is late.
func (p *process) wait(t *testing.T, limit time.Duration) int {
	t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		t.Fatalf("still running after %v", limit)
		return 0
	}
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// cluster is some processes on folders and ports that stay the same.
type cluster struct {
	t      *testing.T
	binary string
	nodes  []*clusterNode
}

type clusterNode struct {
	name, dir, client, peer string
	http                    string // empty: off
	*process
}

// newCluster starts n nodes and waits until they serve.
func newCluster(t *testing.T, n int) *cluster {
	t.Helper()
	return newClusterOf(t, binary, n)
}

// newClusterOf runs another build of the command.
func newClusterOf(t *testing.T, binary string, n int) *cluster {
	t.Helper()
	c := &cluster{t: t, binary: binary}
	ports := freePorts(t, 2*n)
	for i := range n {
		c.nodes = append(c.nodes, &clusterNode{
			name: fmt.Sprintf("n%d", i+1), dir: filepath.Join(t.TempDir(), "data"),
			client: ports[2*i], peer: ports[2*i+1],
		})
	}
	for _, n := range c.nodes {
		c.start(n)
	}
	return c
}

// start runs a node on its folder and ports.
func (c *cluster) start(n *clusterNode) {
	c.t.Helper()
	n.process = startOf(c.t, c.binary, c.serve(n)...)
}

// serve returns the arguments that a node is started with.
func (c *cluster) serve(n *clusterNode) []string {
	members := make([]string, 0, len(c.nodes))
	for _, m := range c.nodes {
		members = append(members, m.name+"="+m.peer)
	}
	return []string{
		"serve", "--name", n.name, "--data-dir", n.dir, "--listen", n.client,
		"--peer-listen", n.peer, "--http", n.http, "--cluster", strings.Join(members, ","),
	}
}

// killAll ends all nodes with signal 9, as nearly at once as can be.
func (c *cluster) killAll() {
	for _, n := range c.nodes {
		n.cmd.Process.Kill()
	}
	for _, n := range c.nodes {
		<-n.done
	}
}

func (c *cluster) endpoints() string {
	var all []string
	for _, n := range c.nodes {
		all = append(all, n.client)
	}
	return strings.Join(all, ",")
}

// open returns a client of the cluster, which serves by then.
func (c *cluster) open() *client.Client {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cl, err := client.Open(ctx, client.Config{Endpoints: strings.Split(c.endpoints(), ",")})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { cl.Close() })
	if _, err := cl.Put(ctx, "ready", nil); err != nil {
		c.t.Fatal(err)
	}
	return cl
}

// leader returns the node that leads in the highest term.
func (c *cluster) leader(cl *client.Client) *clusterNode {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for ; ; pause(ctx, c.t) {
		members, err := membersOf(ctx, cl)
		if err != nil {
			continue
		}
		best, term := "", uint64(0)
		for _, m := range members {
			if m.Role == "leader" && m.Term > term {
				best, term = m.Name, m.Term
			}
		}
		for _, n := range c.nodes {
			if n.name == best {
				return n
			}
		}
	}
}

// index says which node it is.
func (c *cluster) index(n *clusterNode) int {
	for i := range c.nodes {
		if c.nodes[i] == n {
			return i
		}
	}
	panic("BUG: a node of another cluster")
}

// pause waits a little between two looks, and fails the test when ctx ends.
func pause(ctx context.Context, t *testing.T) {
	t.Helper()
	select {
	case <-time.After(10 * time.Millisecond):
	case <-ctx.Done():
		t.Fatal("waited too long")
	}
}

// freePorts returns loopback addresses below the range that the kernel hands
// out by itself, so that none is taken while its node is down.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var addrs []string
	for tries := 0; len(addrs) < n; tries++ {
		if tries > 1000 {
			t.Fatal("no free ports")
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 12000+rand.IntN(20000)))
		if err != nil {
			continue
		}
		defer l.Close() // after all are chosen, so that they differ
		addrs = append(addrs, l.Addr().String())
	}
	return addrs
}

// cli runs a command line of the binary to its end.
func cli(t *testing.T, args ...string) said {
	t.Helper()
	p := start(t, args...)
	code := p.wait(t, 60*time.Second)
	return said{code, p.out.String(), p.err.String()}
}

// A connection refused, a missing key, a failed condition and a cluster without
// a quorum each have an exit code of their own.
func TestExitCodesOfTheBinary(t *testing.T) {
	gone := freePorts(t, 1)[0]
	c := newCluster(t, 1)
	c.open()
	at := []string{"-e", c.nodes[0].client}
	f := func(code int, out, talk string, args ...string) {
		t.Helper()
		got := cli(t, args...)
		if got.code != code || got.out != out || !strings.Contains(got.err, talk) || talk == "" && got.err != "" {
			t.Errorf("%q: got %+v", args, got)
		}
	}
	on := func(args ...string) []string { return append(args, at...) }
	f(exitUnavailable, "", "connection refused", "get", "k", "-e", gone, "--timeout", "500ms")
	f(exitUnavailable, "", "connection refused", "put", "k", "v", "-e", gone, "--timeout", "500ms")
	f(exitNotFound, "", `cannot get "k": key not found`, on("get", "k")...)
	f(exitNotFound, "", `cannot delete "k": key not found`, on("del", "k")...)
	f(exitOK, "ok\n", "", on("put", "k", "v")...)
	f(exitOK, "v\n", "", on("get", "k")...)
	f(exitOK, "v", "", on("get", "k", "-o", "raw")...)
	f(exitOK, "v\n", "", on("get", "k", "--consistency", "stale")...)
	f(exitOK, "v\n", "", on("get", "k", "--consistency", "lease")...)
	f(exitCondition, "", "condition failed", on("cas", "k", "x", "w")...)
	f(exitCondition, "", "condition failed", on("cas", "--absent", "k", "w")...)
	f(exitCondition, "", "does not exist", on("cas", "none", "x", "w")...)
	f(exitOK, "ok\n", "", on("cas", "k", "v", "w")...)
	f(exitOK, "ok\n", "", on("cas", "--absent", "l", "1")...)
	f(exitOK, "k\tw\nl\t1\nready\t\n", "", on("scan")...)
	f(exitOK, "l\n", "", on("scan", "l", "--keys-only")...)
	f(exitOK, "[]\n", "", on("scan", "none", "-o", "json")...)
	f(exitOK, "ok\n", "", on("del", "l")...)
	f(exitOK, "", "", on("put", "k", "", "-o", "raw")...)
	f(exitUsage, "", "too large", on("put", strings.Repeat("x", 5000), "v")...)
}

// The JSON output has the fields that the contract names.
func TestJSONOfTheBinary(t *testing.T) {
	c := newCluster(t, 1)
	cl := c.open()
	if _, err := cl.Put(context.Background(), "b\xff", []byte{0, 0xff}); err != nil {
		t.Fatal(err)
	}
	f := func(want string, args ...string) {
		t.Helper()
		got := cli(t, append(args, "-e", c.nodes[0].client)...)
		if got.code != 0 || !strings.Contains(got.out, want) {
			t.Errorf("%q: got %+v, want %s", args, got, want)
		}
	}
	f(`{"key":"k","revision":`, "put", "k", "v", "-o", "json")
	f(`"value":"v","create_revision":`, "get", "k", "-o", "json")
	f(`"version":1}`, "get", "k", "-o", "json")
	f(`{"key":{"b64":"Yv8="},"value":{"b64":"AP8="},"create_revision":`, "scan", "b", "-o", "json")
	f(`[{"name":"n1","id":1,"role":"leader","term":`, "status", "-o", "json")
	f(`"state":"ok"`, "status", "-o", "json")
	f("NAME", "status")
}

// SIGTERM stops a node gracefully, and what it acknowledged is there afterwards.
func TestSigtermThenRestart(t *testing.T) {
	c := newCluster(t, 1)
	cl := c.open()
	if _, err := cl.Put(context.Background(), "k", []byte("v")); err != nil {
		t.Fatal(err)
	}
	n := c.nodes[0]
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := n.wait(t, 10*time.Second); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
	c.start(n)
	it, err := c.open().Get(context.Background(), "k")
	if err != nil || string(it.Value) != "v" {
		t.Errorf("got %q, %v", it.Value, err)
	}
}

// What cannot start says why and what to do, and exits 2 for a mistake.
func TestServeRefuses(t *testing.T) {
	f := func(code int, want string, args ...string) {
		t.Helper()
		got := cli(t, append([]string{"serve", "--http", ""}, args...)...)
		if got.code != code || got.out != "" || !strings.Contains(got.err, want) {
			t.Errorf("%q: got %+v, want %d %q", args, got, code, want)
		}
	}
	ports := freePorts(t, 3)
	taken, err := net.Listen("tcp", ports[2])
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	f(exitUsage, `client address "nonsense" to listen on: use host:port`, "--listen", "nonsense")
	f(exitUsage, "--cluster", "--cluster", "n1")
	f(exitUsage, "--data-dir is empty", "--data-dir", "")
	f(exitUsage, "--name is empty", "--name", "")
	f(exitUsage, "--listen is empty", "--listen", "")
	f(exitUsage, "--peer-listen is empty", "--peer-listen", "")
	f(exitOther, "not a directory", "--data-dir", os.Args[0], "--listen", ports[0], "--peer-listen", ports[1])
	f(exitUsage, `this node's name "n1" is not in the cluster list`, "--name", "n1", "--cluster", "n2="+ports[0]+",n3="+ports[1])
	f(exitOther, "address already in use", "--listen", taken.Addr().String(), "--peer-listen", ports[0])
}

func TestBench(t *testing.T) {
	c := newCluster(t, 1)
	c.open()
	f := func(code int, want string, args ...string) {
		t.Helper()
		got := cli(t, append([]string{"bench"}, append(args, "-e", c.nodes[0].client)...)...)
		if got.code != code || !strings.Contains(got.out+got.err, want) {
			t.Errorf("%q: got %+v", args, got)
		}
	}
	f(0, `"ops_per_s":`, "put", "--total", "500", "--clients", "10", "--conns", "2", "-o", "json")
	f(0, `"p99_us":`, "put", "--duration", "200ms", "-o", "json")
	f(0, "per second", "get", "--total", "500", "--keys", "100", "--clients", "10")
	f(0, `"errors":0`, "get", "--total", "100", "--keys", "100", "--consistency", "stale", "-o", "json")
	f(0, "gets", "mix", "--total", "500", "--keys", "100", "--put-share", "0.5")
	f(0, `"puts":{"ops":`, "mix", "--total", "500", "--keys", "100", "--clients", "10", "-o", "json")
	f(0, `"errors":0`, "scan", "--total", "50", "--keys", "100", "--scan-keys", "60", "-o", "json")
	f(exitUsage, "a scan of 200 keys of 100", "scan", "--keys", "100", "--scan-keys", "200")
	f(exitUsage, "--put-share", "mix", "--put-share", "1.5")
	f(exitUsage, "--put-share", "mix", "--put-share", "0")
	f(exitUsage, "--scan-keys", "scan", "--scan-keys", "0")
	f(exitUsage, "exclude each other", "put", "--total", "5", "--duration", "1s")
	f(exitUsage, "at least 5 bytes", "put", "--keys", "100000", "--key-size", "2")
	f(exitUsage, "above zero", "put", "--clients", "0")
}

// Without a terminal the demo prints a line a second, kills its leader once,
// finds every write and exits 0.
func TestDemo(t *testing.T) {
	got := cli(t, "demo", "--duration", "6s", "--rate", "500")
	if got.code != 0 || got.err != "" {
		t.Fatalf("got %+v", got)
	}
	for _, want := range []string{"a cluster of 3 in", "\n  6s ", "killed the leader", "restarted n", " 0 wrong or missing\n"} {
		if strings.Count(got.out, want) != 1 {
			t.Errorf("%q does not stand once in\n%s", want, got.out)
		}
	}
	if n := strings.Count(got.out, "\n"); n != 2+6+1 {
		t.Errorf("%d lines\n%s", n, got.out)
	}
}
