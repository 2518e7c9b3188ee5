package node

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dnode-engine/dnode/wire"
)

// A node under attack runs in a process of its own, this test binary again: its
// memory, goroutines and descriptors are then its own, too.

// These make the test binary a victim or a flood: they hold a victimConfig or a
// flood in JSON.
const (
	serveEnv = "DNODETEST_SERVE"
	floodEnv = "DNODETEST_ATTACK"
)

type victimConfig struct {
	DataDir     string
	Connections int    // limit
	Files       uint64 // limit on open files, zero: as it is
}

// health is what a victim says about itself.
type health struct {
	Goroutines, Files int
	Answered          uint64 // requests
	Accepted          uint64 // connections
	RSS, Peak         int64  // bytes
	Heap              uint64
	Err               string
}

// flood is an attack by a process of its own: a client elsewhere shares neither
// the scheduler nor the cores of the honest ones, so that it only gets the time
// that these and the victim leave. An attacker that really is elsewhere takes two
// variables: in DNODETEST_LISTEN the address at which the victim listens, and in
// DNODETEST_ATTACKER a shell command that runs this test binary there with the
// variable DNODETEST_ATTACK as it is here, and ends it when it is killed itself.
type flood struct {
	Addr     string
	Peer     string `json:",omitempty"` // the members' port
	Kind     string // one of floods, or another attack
	InFlight int    `json:",omitempty"`
}

// floods are the kinds of flood by how much of them is in flight: all that may.
var floods = map[string]int{"small puts": wire.MaxConnRequests, "gets": wire.MaxConnRequests, "large puts": 7, "scans": 64}

func attackAsFlood(text string) {
	var f flood
	err := json.Unmarshal([]byte(text), &f)
	switch {
	case err != nil:
	case f.Kind == "siege":
		err = siege(&f)
	case f.Kind == "slow" || f.Kind == "slow and greeting":
		err = slowly(f.Addr, f.InFlight, f.Kind != "slow")
	default:
		flooder(f.Addr, f.InFlight, floodFrame(f.Kind))
	}
	fmt.Println("the attack ended:", err)
	os.Exit(1)
}

// floodFrame returns what makes the requests of a flood.
func floodFrame(kind string) func(c *raw) []byte {
	small, large := strings.Repeat("v", 256), strings.Repeat("v", wire.MaxCommandBytes-200)
	switch kind {
	case "gets":
		return func(c *raw) []byte { return c.getFrame(wire.Linearizable, "k") }
	case "small puts":
		return func(c *raw) []byte { return c.putFrame("flood", small) }
	case "large puts":
		return func(c *raw) []byte { return c.putFrame("flood", large) }
	}
	return func(c *raw) []byte {
		c.id++
		return wire.AppendFrame(nil, wire.FrameRead, c.id, wire.AppendRead(nil, wire.Stale, wire.AppendScan(nil, wire.Query{Limit: 1000})))
	}
}

// start runs the flood until stop is called.
func (f flood) start(t *testing.T) (stop func()) {
	t.Helper()
	text, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	lower := []string{"nice", "-n", "10"} // beside other tests, idle tasks may wait for ever
	if os.Getenv("DNODETEST_FLOOD") != "" {
		lower = []string{"chrt", "--idle", "0"}
	}
	attacker := []string{os.Args[0]}
	if elsewhere := os.Getenv("DNODETEST_ATTACKER"); elsewhere != "" {
		attacker = []string{"sh", "-c", elsewhere}
	}
	cmd := exec.Command(lower[0], append(lower[1:], attacker...)...)
	cmd.Env = append(os.Environ(), floodEnv+"="+string(text))
	cmd.Stdout = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() { // may be called again
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

// serveAsVictim is the victim's process: it prints its addresses, then its
// health for each line it reads, and stops at the end of its input.
func serveAsVictim(text string) {
	var v victimConfig
	err := json.Unmarshal([]byte(text), &v)
	if err == nil && v.Files > 0 {
		err = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: v.Files, Max: v.Files})
	}
	host := cmp.Or(os.Getenv("DNODETEST_LISTEN"), "127.0.0.1")
	cfg := Config{Name: "n1", DataDir: v.DataDir, Listen: host + ":0", PeerListen: host + ":0"}
	cfg.Limits.Connections = v.Connections
	cfg.Limits.TailBytes = wire.MaxAppendBytes // kept for followers that lag, and no leak
	var n *Node
	if err == nil {
		n, err = Start(context.Background(), cfg)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(n.ClientAddr(), n.PeerAddr())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if err := json.NewEncoder(os.Stdout).Encode(ownHealth(n)); err != nil {
			break
		}
	}
	_ = n.Shutdown(context.Background())
}

func ownHealth(n *Node) (h health) {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	files, err := os.ReadDir("/proc/self/fd")
	h = health{Goroutines: runtime.NumGoroutine(), Files: len(files), Heap: m.HeapAlloc}
	published := n.published.get()
	h.Accepted = published.accepted
	for _, kind := range published.answered {
		for _, count := range kind {
			h.Answered += count
		}
	}
	h.RSS, h.Peak = procStatus("VmRSS:"), procStatus("VmHWM:")
	if err = errors.Join(err, n.Err()); err != nil {
		h.Err = err.Error()
	}
	return h
}

// procStatus returns a size from the kernel's view of this process.
func procStatus(name string) int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if rest, ok := strings.CutPrefix(line, name); ok {
			kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}

type victim struct {
	t            *testing.T
	client, peer string
	in           io.WriteCloser
	out          *bufio.Reader
}

func startVictim(t *testing.T, v victimConfig) *victim {
	t.Helper()
	v.DataDir = filepath.Join(t.TempDir(), "data")
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serveEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
	})
	p := &victim{t: t, in: in, out: bufio.NewReader(out)}
	line, err := p.out.ReadString('\n')
	if _, serr := fmt.Sscan(line, &p.client, &p.peer); err != nil || serr != nil {
		t.Fatalf("the victim said %q: %v", line, err)
	}
	eventually(t, "first put", func() error {
		c, err := connect(p.client)
		if err != nil {
			return err
		}
		defer c.Close()
		return c.put("k", "v")
	})
	return p
}

func (p *victim) health() (h health) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, "\n"); err != nil {
		p.t.Fatalf("the victim is gone: %v", err)
	}
	line, err := p.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &h)
	}
	if err != nil || h.Err != "" {
		p.t.Fatalf("the victim is ill: %s %v", h.Err, err)
	}
	return h
}

// recovers checks that the victim is as it was before the attack: memory within
// 64 MiB, no more goroutines, no more descriptors, and that it serves. The clients
// of the test hang up first.
func (p *victim) recovers(before health, clients []*raw) {
	p.t.Helper()
	for _, c := range clients {
		_ = c.Close()
	}
	var h health
	eventually(p.t, "the victim to be as before", func() error {
		h = p.health()
		grown := h.RSS > before.RSS+64<<20 && !raced() // the detector keeps shadows
		if grown || h.Heap > before.Heap+64<<20 || h.Goroutines > before.Goroutines+2 || h.Files > before.Files+8 {
			return fmt.Errorf("%+v, was %+v", h, before)
		}
		return nil
	})
	p.t.Logf("before %+v\nafter  %+v", before, h)
	c, err := connect(p.client)
	if err != nil {
		p.t.Fatalf("after the attack: %v", err)
	}
	defer c.Close()
	if err := c.put("k", "v"); err != nil {
		p.t.Fatalf("after the attack: %v", err)
	}
}

// floodTime is how long each attack lasts: one second, or DNODETEST_FLOOD.
func floodTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("DNODETEST_FLOOD")
	if text == "" {
		return time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// honestClients connects ten clients.
func honestClients(t *testing.T, addr string) []*raw {
	t.Helper()
	clients := make([]*raw, 10)
	for i := range clients {
		clients[i] = mustConnect(t, addr)
	}
	return clients
}

// honest lets clients put and get one after the other for a while, and returns
// the 99th percentile of their latency. An error fails the test.
func honest(t *testing.T, clients []*raw, d time.Duration) time.Duration {
	t.Helper()
	var mu sync.Mutex
	var all []time.Duration
	var wg sync.WaitGroup
	for i, c := range clients {
		if err := c.SetDeadline(time.Now().Add(d + testPatience)); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			var own []time.Duration
			key := fmt.Sprintf("honest%d", i)
			for end := time.Now().Add(d); time.Now().Before(end); {
				begin := time.Now()
				err := c.put(key, "v")
				mid := time.Now()
				if err == nil {
					_, err = c.get(wire.Linearizable, key)
				}
				if err != nil {
					t.Errorf("honest client: %v", err)
					break
				}
				own = append(own, mid.Sub(begin), time.Since(mid))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, own...)
		})
	}
	wg.Wait()
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	p := func(q float64) time.Duration { return all[int(q*float64(len(all)-1))] }
	t.Logf("honest: %d operations, p50 %v p99 %v max %v", len(all), p(0.5), p(0.99), p(1))
	return p(0.99)
}

// raced reports whether this is a build with the race detector, which makes
// times and memory say nothing.
func raced() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// attack runs n attackers until stop is called; each gets its number.
func attack(n int, f func(i int, over func() bool)) (stop func()) {
	var over atomic.Bool
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for !over.Load() {
				f(i, over.Load)
			}
		})
	}
	return func() {
		over.Store(true)
		wg.Wait()
	}
}

// flooder keeps as many requests in flight as it may, and reads the answers,
// until the connection ends.
func flooder(addr string, inFlight int, frame func(c *raw) []byte) {
	c, err := connect(addr)
	if err != nil {
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Minute))
	credits, gone := make(chan struct{}, inFlight), make(chan struct{})
	reader := &raw{Conn: c.Conn}
	go func() {
		for {
			_, err := reader.next()
			var e *wire.Error
			if err != nil && (!errors.As(err, &e) || e.Code.Closes()) {
				_ = c.Close()
				close(gone)
				return
			}
			<-credits
		}
	}()
	var out []byte
	for {
		select {
		case credits <- struct{}{}:
		case <-gone:
			return
		}
		out = append(out[:0], frame(c)...)
		for more := true; more && len(out) < 64<<10; {
			select {
			case credits <- struct{}{}:
				out = append(out, frame(c)...)
			default:
				more = false
			}
		}
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}

// A client that sends thousands of requests at once does not get them all into
// the log before the next one of a client that sends one at a time.
func TestManyRequestsYield(t *testing.T) {
	n := start(t, testConfig(t, "n1"))
	one, many := mustConnect(t, n.ClientAddr()), mustConnect(t, n.ClientAddr())
	eventually(t, "put", func() error { return one.put("k", "v") })
	put := func() wire.Index {
		t.Helper()
		if err := one.put("k", "v"); err != nil {
			t.Fatal(err)
		}
		f, err := wire.ParseFrame(one.buf, wire.MaxFrameBytes)
		if err != nil {
			t.Fatal(err)
		}
		rev, _, err := wire.ParseReply(f.Body)
		if err != nil {
			t.Fatal(err)
		}
		return rev
	}
	const count = 4000
	last, gap, burst := put(), wire.Index(0), []byte(nil)
	for range count {
		burst = append(burst, many.putFrame("k", strings.Repeat("v", 400))...)
	}
	if _, err := many.Write(burst); err != nil {
		t.Fatal(err)
	}
	for end := last + count; last < end; {
		rev := put()
		gap, last = max(gap, rev-last), rev
	}
	for range count {
		if _, err := many.next(); err != nil {
			t.Fatalf("the many: %v", err)
		}
	}
	if gap > count/2 {
		t.Errorf("one put waited for %d others", gap)
	}
	eventually(t, "yielding to be counted", func() error {
		if n.published.get().yielded == 0 {
			return errors.New("zero")
		}
		return nil
	})
	// What waits is bounded, too, by number and by size.
	for count, size := range map[int]int{64: wire.MaxCommandBytes - 200, wire.MaxConnRequests + 1000: 1} {
		many := mustConnect(t, n.ClientAddr())
		burst = burst[:0]
		for range count {
			burst = append(burst, many.putFrame("k", strings.Repeat("v", size))...)
		}
		put()
		_, err := many.Write(burst)
		for err == nil {
			_, err = many.next()
		}
		if !isCode(err, wire.CodeCredit) {
			t.Errorf("%d requests of %d bytes at once: %v", count, size, err)
		}
	}
}

// One client that keeps all the requests in flight that it may does not keep
// others waiting.
func TestHonestClientsBesideAFlood(t *testing.T) {
	d := floodTime(t)
	for kind, inFlight := range floods {
		t.Run(kind, func(t *testing.T) {
			v := startVictim(t, victimConfig{})
			fill(t, v.client)
			before := v.health()
			clients := honestClients(t, v.client)
			calm := honest(t, clients, d/2)
			stop := flood{Addr: v.client, Kind: kind, InFlight: inFlight}.start(t)
			defer stop()
			first := v.health().Answered
			busy := honest(t, clients, d/2)
			answered := v.health().Answered - first
			stop()
			t.Logf("p99 %v before, %v beside the flood: %.1f times; %d answered in %v", calm, busy, float64(busy)/float64(calm), answered, d/2)
			checkTail(t, calm, busy)
			v.recovers(before, clients)
		})
	}
}

// fill writes enough for a page of a scan.
func fill(t *testing.T, addr string) {
	t.Helper()
	c := mustConnect(t, addr)
	for i := range 8 {
		if err := c.put(fmt.Sprintf("scan%d", i), strings.Repeat("v", 256<<10)); err != nil {
			t.Fatal(err)
		}
	}
}
