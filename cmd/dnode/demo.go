package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/dnode-engine/dnode/client"
	"github.com/dnode-engine/dnode/client/load"
	"github.com/dnode-engine/dnode/node"
)

const (
	demoKeys       = 1 << 16 // per writer, before it begins to overwrite
	demoValueBytes = 64
	demoWait       = 20 * time.Second // for a leader, and for reading everything back
)

// demoFlags are the flags of demo as they were given.
type demoFlags struct {
	nodes    int
	duration time.Duration
	clients  int
	rate     float64
	logLevel string
}

func newDemo(con *console) *cobra.Command {
	var f demoFlags
	cmd := &cobra.Command{
		Use: "demo", GroupID: groupStart, Args: takes(""),
		Short: "Run a cluster in this process, load it, and kill its leader",
		Long: "Run a cluster in this process, over real sockets and files, with a load on it. Its leader is killed\nand restarted; at the end every acknowledged write is looked for. Exits 0 if all are there, else 7.\n" +
			"On a terminal it runs until Ctrl-C, elsewhere for ten seconds. Nothing is kept. The first node\nlistens on 127.0.0.1:7400 if that is free, so that dnode put and get work beside it.",
		Example: examples("dnode demo", "dnode demo -n 5 --duration 30s", "dnode demo --rate 0 --clients 64"),
		RunE:    func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), con) },
	}
	cmd.Flags().IntVarP(&f.nodes, "nodes", "n", 3, "how many nodes, 1 to 7")
	cmd.Flags().DurationVar(&f.duration, "duration", 0, "how long; 0 is until Ctrl-C on a terminal, else 10s")
	cmd.Flags().IntVar(&f.clients, "clients", 16, "writes in flight")
	cmd.Flags().Float64Var(&f.rate, "rate", 1000, "writes per second at most; 0 is as many as go")
	logLevel := oneOf(&f.logLevel, logLevels...)
	f.logLevel = "error"
	cmd.Flags().Var(logLevel, "log-level", "least level to log")
	return cmd
}

func (f *demoFlags) run(ctx context.Context, con *console) error {
	switch {
	case f.nodes < 1 || f.nodes > 7:
		return usagef("--nodes %d: use 1 to 7", f.nodes)
	case f.clients < 1 || f.clients > 10_000:
		return usagef("--clients %d: use 1 to 10000", f.clients)
	case f.rate < 0 || f.rate > 1e6:
		return usagef("--rate %v: use 0 to 1e6", f.rate)
	case f.duration < 0 || f.duration > 0 && f.duration < time.Second:
		return usagef("--duration %v: use a second or more", f.duration)
	}
	if f.duration == 0 && !con.outTerminal {
		f.duration = 10 * time.Second
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	signal.Ignore(syscall.SIGPIPE) // an output that nobody reads ends the demo in order
	dir, err := os.MkdirTemp("", "dnode-demo-")
	if err != nil {
		return fmt.Errorf("cannot make a folder for the nodes: %w", err)
	}
	defer os.RemoveAll(dir)
	d := &demo{con: con, flags: f, ledger: newLedger("demo/", f.clients, demoKeys, demoValueBytes)}
	d.ledger.done = d.count
	if err := d.startNodes(ctx, dir); err != nil {
		d.stopNodes()
		return err
	}
	defer d.stopNodes()
	return d.play(ctx, stop)
}

// demo is a cluster in this process and what is known of its load.
type demo struct {
	con    *console
	flags  *demoFlags
	nodes  []*demoNode
	ledger *ledger
	client *client.Client

	mu     sync.Mutex
	hist   *load.Histogram // of the current second
	killed time.Time       // when the leader was killed; zero once writes go on
	gap    time.Duration   // from the kill to the first write that began after it
}

type demoNode struct {
	cfg  node.Config
	node *node.Node // nil while it is down
}

// startNodes starts the nodes and waits until they serve.
func (d *demo) startNodes(ctx context.Context, dir string) error {
	d.hist = new(load.Histogram)
	addrs, err := demoAddrs(2 * d.flags.nodes)
	if err != nil {
		return err
	}
	cluster := make(map[string]string)
	logger := newLogger(d.con, d.flags.logLevel, "auto")
	for i := range d.flags.nodes {
		cfg := node.Config{
			Name: fmt.Sprintf("n%d", i+1), Listen: addrs[2*i], PeerListen: addrs[2*i+1],
			Cluster: cluster, Logger: logger,
		}
		cfg.DataDir = filepath.Join(dir, cfg.Name)
		cluster[cfg.Name] = cfg.PeerListen
		d.nodes = append(d.nodes, &demoNode{cfg: cfg})
	}
	var endpoints []string
	for _, n := range d.nodes {
		if err := n.start(ctx); err != nil {
			return err
		}
		endpoints = append(endpoints, n.node.ClientAddr())
	}
	ctx, cancel := context.WithTimeout(ctx, demoWait)
	defer cancel()
	if d.client, err = client.Open(ctx, client.Config{Endpoints: endpoints, Name: "demo"}); err != nil {
		return err
	}
	if _, err := d.client.Put(ctx, "demo", []byte("dnode demo")); err != nil {
		return err
	}
	end := ""
	if d.flags.duration == 0 {
		end = "; Ctrl-C ends it and looks for every write"
	}
	return d.say("a cluster of %d in %s serves on %s; nothing is kept\ntry: dnode put -e %s hello world%s\n",
		len(d.nodes), dir, strings.Join(endpoints, " "), endpoints[0], end)
}

func (n *demoNode) start(ctx context.Context) error {
	started, err := node.Start(ctx, n.cfg)
	if err == nil {
		n.node = started
	}
	return err
}

// stopNodes ends everything that startNodes has begun.
func (d *demo) stopNodes() {
	if d.client != nil {
		d.client.Close()
	}
	for _, n := range d.nodes {
		if n.node != nil {
			n.node.Kill() // nothing is kept
		}
	}
}

// play runs the load second by second, with the leader's death, and then looks
// for every write. A second Ctrl-C, while it looks, ends the process.
func (d *demo) play(ctx context.Context, stop func()) error {
	loading, end := context.WithCancel(ctx)
	defer end()
	var running sync.WaitGroup
	pace, stopPace := d.pace(loading)
	defer stopPace()
	// The pace ends with the load, the writes do not: each gets its answer.
	running.Go(func() { d.ledger.run(context.Background(), d.client.Put, pace) })
	seconds := int(d.flags.duration / time.Second)
	err := d.seconds(loading, seconds)
	end()
	running.Wait()
	stop()
	if err != nil {
		return err
	}
	for _, n := range d.nodes { // the one killed last may still be down
		if n.node == nil {
			if err := n.start(context.Background()); err != nil {
				return err
			}
		}
	}
	return d.verdict()
}

// seconds prints a line a second; limit 0 goes on until ctx ends.
func (d *demo) seconds(ctx context.Context, limit int) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	cycle := 10
	if limit > 0 {
		cycle = max(limit, 3)
	}
	var before uint64
	for s := 1; limit == 0 || s <= limit; s++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		acked := d.ledger.acked.Load()
		event, err := d.event(ctx, s%cycle, cycle)
		if err != nil {
			return err
		}
		if err := d.line(s, acked, acked-before, event); err != nil {
			return nil // nobody reads it: end in order
		}
		before = acked
	}
	return nil
}

// event kills the leader a third into each cycle and restarts it at two thirds.
func (d *demo) event(ctx context.Context, at, cycle int) (string, error) {
	switch at {
	case cycle / 3:
		leader := d.leader()
		if leader == nil {
			return "no leader to kill", nil
		}
		d.mu.Lock()
		d.killed = time.Now()
		d.mu.Unlock()
		leader.node.Kill()
		leader.node = nil
		return "killed the leader, " + leader.cfg.Name, nil
	case cycle * 2 / 3:
		for _, n := range d.nodes {
			if n.node == nil {
				return "restarted " + n.cfg.Name, n.start(ctx)
			}
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if gap := d.gap; gap != 0 {
		d.gap = 0
		return fmt.Sprintf("writes went on %v after the kill", gap.Round(time.Millisecond)), nil
	}
	return "", nil
}

// leader returns the node that leads in the highest term, or nil.
func (d *demo) leader() *demoNode {
	var best *demoNode
	var term uint64
	for _, n := range d.nodes {
		if n.node == nil {
			continue
		}
		if st := n.node.Status(); st.Role.String() == "leader" && uint64(st.Term) >= term {
			best, term = n, uint64(st.Term)
		}
	}
	return best
}

// count is told about every write of the load.
func (d *demo) count(began time.Time, err error) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		return
	}
	d.hist.Record(now.Sub(began))
	if !d.killed.IsZero() && began.After(d.killed) {
		d.gap, d.killed = now.Sub(d.killed), time.Time{}
	}
}

func (d *demo) line(second int, total, writes uint64, event string) error {
	d.mu.Lock()
	hist := d.hist
	d.hist = new(load.Histogram)
	d.mu.Unlock()
	leader := "none"
	if n := d.leader(); n != nil {
		leader = n.cfg.Name
	}
	if event != "" {
		event = "  " + event
	}
	return d.say("%3ds  %7d writes  %6d/s  p50 %-7v p99 %-7v leader %s%s\n",
		second, total, writes, short(hist.Quantile(0.5)), short(hist.Quantile(0.99)), leader, event)
}

func short(t time.Duration) time.Duration {
	if t > 10*time.Millisecond {
		return t.Round(time.Millisecond)
	}
	return t.Round(10 * time.Microsecond)
}

func (d *demo) say(format string, args ...any) error {
	_, err := fmt.Fprintf(d.con.out, format, args...)
	return err
}

// verdict reads everything back.
func (d *demo) verdict() error {
	ctx, cancel := context.WithTimeout(context.Background(), demoWait)
	defer cancel()
	a, err := d.ledger.check(d.client.Scan(ctx, client.Range{Prefix: d.ledger.prefix}))
	if err != nil {
		return &exitError{exitUnhealthy, err}
	}
	l := d.ledger
	_ = d.say("%d writes acknowledged, %d of unknown outcome, %d refused; read back %d keys: %d wrong or missing\n",
		l.acked.Load(), l.unknown.Load(), l.refused.Load(), a.keys, a.bad)
	if a.bad > 0 {
		return &exitError{exitUnhealthy, errors.New("acknowledged writes are not there: " + strings.Join(a.wrong, "; "))}
	}
	if l.acked.Load() == 0 {
		return &exitError{exitUnhealthy, errors.New("not one write was acknowledged")}
	}
	return nil
}

// pace spreads the writes over the second. It allows at most a tick's worth of
// writes after a pause, not all that the pause has cost.
func (d *demo) pace(ctx context.Context) (pace func() bool, stop func()) {
	if d.flags.rate == 0 {
		return func() bool { return ctx.Err() == nil }, func() {}
	}
	tick := time.NewTicker(max(time.Duration(float64(time.Second)/d.flags.rate), time.Microsecond))
	return func() bool {
		select {
		case <-tick.C:
			return true
		case <-ctx.Done():
			return false
		}
	}, tick.Stop
}

// demoAddrs returns free loopback addresses, the default client address first
// if it is free. The others lie below the range that the kernel hands out by
// itself, so that none is taken while its node is down.
func demoAddrs(n int) ([]string, error) {
	addr := node.DefaultListen
	var addrs []string
	for tries := 0; len(addrs) < n; tries++ {
		if tries > 1000 {
			return nil, errors.New("cannot find free ports on 127.0.0.1")
		}
		l, err := net.Listen("tcp", addr)
		if err == nil {
			defer l.Close() // after all are chosen, so that they differ
			addrs = append(addrs, addr)
		}
		addr = fmt.Sprintf("127.0.0.1:%d", 12_000+rand.IntN(20_000))
	}
	return addrs, nil
}
