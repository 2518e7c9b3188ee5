package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dnode-engine/dnode/wire"
)

// Config says how to reach a cluster. Only Endpoints is required.
type Config struct {
	// Endpoints are client addresses, host:port, of one or more nodes. The
	// others, and the leader, are learned from whichever answers.
	Endpoints []string
	// Name is shown in the logs of the nodes; at most 64 bytes.
	Name string
	// Timeout bounds a call whose context has no deadline, and Open.
	// Default 5 s.
	Timeout time.Duration
	// DialTimeout bounds opening one connection, hello included. Default 2 s.
	DialTimeout time.Duration
	// ProbeInterval is how long a node may leave requests unanswered before it
	// is asked for a sign of life, and again how long it may take to give one.
	// After both the client looks for the leader elsewhere. Default 500 ms.
	ProbeInterval time.Duration
	// MaxPending bounds the calls that have not ended yet, waiting callers and
	// asynchronous ones together. Beyond it, and when their requests hold more
	// than 256 MiB together, calls are refused with ErrBusy. Default 65,536.
	MaxPending int
	// Dial opens a connection; nil dials TCP. It must give up when ctx ends.
	// With it a caller adds TLS, or keeps everything in memory in a test.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
}

const (
	defaultTimeout       = 5 * time.Second
	defaultDialTimeout   = 2 * time.Second
	defaultProbeInterval = 500 * time.Millisecond
	defaultMaxPending    = 1 << 16
	maxEndpoints         = 256
)

// withDefaults checks the configuration and fills in what was left out.
func (cfg Config) withDefaults() (Config, error) {
	cfg.Endpoints = slices.Clone(cfg.Endpoints)
	if len(cfg.Endpoints) == 0 {
		return cfg, errors.New("cannot open client: no endpoints given; name at least one node as host:port")
	}
	if len(cfg.Endpoints) > maxEndpoints {
		return cfg, fmt.Errorf("cannot open client: %d endpoints given, at most %d are allowed", len(cfg.Endpoints), maxEndpoints)
	}
	for i, addr := range cfg.Endpoints {
		addr = strings.TrimSpace(addr)
		if err := checkAddr(addr); err != nil {
			return cfg, fmt.Errorf("cannot open client: endpoint %q: %w", addr, err)
		}
		cfg.Endpoints[i] = addr
	}
	if len(cfg.Name) > wire.MaxNameBytes {
		return cfg, fmt.Errorf("cannot open client: name of %d bytes, at most %d are allowed", len(cfg.Name), wire.MaxNameBytes)
	}
	if cfg.Timeout < 0 || cfg.DialTimeout < 0 || cfg.ProbeInterval < 0 || cfg.MaxPending < 0 {
		return cfg, errors.New("cannot open client: a negative limit makes no sense")
	}
	setDefault(&cfg.Timeout, defaultTimeout)
	setDefault(&cfg.DialTimeout, defaultDialTimeout)
	setDefault(&cfg.ProbeInterval, defaultProbeInterval)
	setDefault(&cfg.MaxPending, defaultMaxPending)
	if cfg.Dial == nil {
		cfg.Dial = dialTCP
	}
	return cfg, nil
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// checkAddr reports what is wrong with a host:port.
func checkAddr(addr string) error {
	if len(addr) > wire.MaxAddrBytes {
		return fmt.Errorf("%d bytes long, at most %d are allowed", len(addr), wire.MaxAddrBytes)
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return errors.New("want host:port")
	}
	if port == "" {
		return errors.New("the port is missing")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q is no port", port)
	}
	return nil
}

// dialTCP opens a TCP connection that notices a vanished host within about
// ten seconds even when nothing is in flight.
func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3,
	}}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, unwrapDial(err)
	}
	return c, nil
}

// unwrapDial takes off what the message around it says anyway: that a
// connection to the address was to be opened.
func unwrapDial(err error) error {
	var op *net.OpError
	var call *os.SyscallError
	switch {
	case errors.As(err, &call):
		return call.Err
	case errors.As(err, &op):
		return op.Err
	}
	return err
}
