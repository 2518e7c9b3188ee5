package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/lmittmann/tint"
	"github.com/spf13/cobra"

	"github.com/dnode-engine/dnode/node"
)

// drainTimeout bounds a graceful stop.
const drainTimeout = 10 * time.Second

var logLevels = []string{"info", "debug", "warn", "error"}

// serveFlags are the flags of serve as they were given.
type serveFlags struct {
	cfg      node.Config
	cluster  []string
	logLevel string
	logText  string
}

func newServe(con *console) *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use: "serve", GroupID: groupStart, Args: takes(""),
		Short: "Run one node",
		Long: "Run one node. Without flags it is a cluster of its own on loopback. With --cluster it founds a\ncluster together with the nodes named there, once all of them have been seen; afterwards membership\n" +
			"comes from the data folder. SIGTERM answers what is in flight and stops; a second one stops at once.",
		Example: examples(
			"dnode serve",
			"dnode serve --data-dir data/n1 --listen 127.0.0.1:7500 --peer-listen 127.0.0.1:7501 --http 127.0.0.1:7502",
			"dnode serve --name n1 --cluster n1=10.0.0.1:7401,n2=10.0.0.2:7401,n3=10.0.0.3:7401 --listen 10.0.0.1:7400 --peer-listen 10.0.0.1:7401",
		),
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, name := range []string{"name", "data-dir", "listen", "peer-listen"} {
				if flag := cmd.Flags().Lookup(name); flag.Value.String() == "" {
					return usagef("--%s is empty; leave it out (and %s unset) for %s", name, variable(name), flag.DefValue)
				}
			}
			return f.run(cmd.Context(), con)
		},
	}
	c := &f.cfg
	cmd.Flags().StringVar(&c.Name, "name", node.DefaultName, "this node's name, unique in the cluster")
	cmd.Flags().StringVar(&c.DataDir, "data-dir", node.DefaultDataDir, "folder of this node alone; created if missing")
	cmd.Flags().StringVar(&c.Listen, "listen", node.DefaultListen, "address for clients, host:port")
	cmd.Flags().StringVar(&c.PeerListen, "peer-listen", node.DefaultPeerListen, "address for the other nodes, host:port")
	cmd.Flags().StringVar(&c.HTTP, "http", "127.0.0.1:7402", "address of /metrics /livez /readyz /status; empty is off")
	cmd.Flags().StringVar(&c.Advertise, "advertise", "", "address that clients are told (default: as --listen)")
	cmd.Flags().StringVar(&c.PeerAdvertise, "peer-advertise", "", "address that other nodes are told (default: as in --cluster, or --peer-listen)")
	cmd.Flags().StringSliceVar(&f.cluster, "cluster", nil, "every node of a new cluster, this one too: name=host:port of its peer address,...")
	cmd.Flags().Var(oneOf(&f.logLevel, logLevels...), "log-level", "least level to log")
	cmd.Flags().Var(oneOf(&f.logText, "auto", "text", "json"), "log-format", "text on a terminal and JSON elsewhere, or always one of them")
	return cmd
}

// run serves until a signal or a failure.
func (f *serveFlags) run(ctx context.Context, con *console) error {
	cluster, err := parseCluster(f.cluster)
	if err != nil {
		return err
	}
	f.cfg.Cluster = cluster
	f.cfg.Logger = newLogger(con, f.logLevel, f.logText)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	signal.Ignore(syscall.SIGPIPE) // a log that nobody reads is no reason to stop
	pacing, stopPacing := context.WithCancel(ctx)
	defer stopPacing()
	go paceGC(pacing, con.env)
	n, err := node.Start(ctx, f.cfg)
	if errors.Is(err, node.ErrConfig) {
		return usagef("%v; see \"dnode serve --help\"", err)
	}
	if err != nil {
		return err
	}
	return wait(n, signals)
}

// stoppable is a node as its end sees it.
type stoppable interface {
	Done() <-chan struct{}
	Err() error
	Shutdown(ctx context.Context) error
}

// wait returns when the node has stopped, or at once at the second signal.
func wait(n stoppable, signals <-chan os.Signal) error {
	select {
	case <-n.Done():
		return failed(n)
	case <-signals:
	}
	stopped := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
		defer cancel()
		stopped <- n.Shutdown(ctx)
	}()
	select {
	case err := <-stopped:
		return errors.Join(err, n.Err())
	case <-signals:
		return errors.New("stopped at once by a second signal: requests in flight were not answered")
	}
}

// failed returns why a node has stopped by itself.
func failed(n stoppable) error {
	if err := n.Err(); err != nil {
		return fmt.Errorf("the node has failed: %w", err)
	}
	return nil
}

// parseCluster reads name=host:port,... .
func parseCluster(members []string) (map[string]string, error) {
	cluster := make(map[string]string, len(members))
	for _, m := range members {
		name, addr, ok := strings.Cut(m, "=")
		if !ok {
			return nil, usagef("--cluster %q: want name=host:port,...", m)
		}
		if _, twice := cluster[name]; twice {
			return nil, usagef("--cluster names %q twice", name)
		}
		cluster[name] = addr
	}
	return cluster, nil
}

// newLogger returns a logger to stderr: coloured lines on a terminal, JSON
// elsewhere, or as the user says.
func newLogger(con *console, level, format string) *slog.Logger {
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		panic("BUG: log level " + level)
	}
	if format == "json" || format == "auto" && !con.terminal {
		return slog.New(slog.NewJSONHandler(con.err, &slog.HandlerOptions{Level: least}))
	}
	return slog.New(tint.NewTextHandler(con.err, &tint.Options{Level: least, NoColor: !con.colour()}))
}

// colour reports whether stderr may be coloured.
func (con *console) colour() bool {
	set := func(kv string) bool {
		return strings.HasPrefix(kv, "NO_COLOR=") && kv != "NO_COLOR=" || kv == "TERM=dumb"
	}
	return con.terminal && !slices.ContainsFunc(con.env, set)
}
