package node

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/dnode-engine/dnode/node/replica"
	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wire"
)

// ErrConfig is wrapped by every error about a Config that cannot work.
var ErrConfig = errors.New("bad configuration")

// Defaults of a Config. The addresses are those of the command line.
const (
	DefaultName       = "n1"
	DefaultDataDir    = "./dnode-data"
	DefaultListen     = "127.0.0.1:7400"
	DefaultPeerListen = "127.0.0.1:7401"

	DefaultTickInterval   = 10 * time.Millisecond
	DefaultHeartbeatTicks = 5
	DefaultElectionTicks  = 50
)

// FS is a data folder: the file system that the log is written to. Close
// gives back the folder's lock and every descriptor, without syncing anything.
type FS interface {
	wal.FS
	io.Closer
}

// Config says what a node is and where it lives. The zero value is a
// single-node cluster on loopback with the defaults above; Validate fills them
// in. A Config is copied by Start and not looked at again.
type Config struct {
	Name    string // this member's name, unique in the cluster
	DataDir string // created if missing; belongs to this node alone

	Listen        string // clients, host:port; port 0 takes any free port
	PeerListen    string // other members, host:port; likewise
	HTTP          string // metrics, health and status; empty: off
	Advertise     string // what clients are told; default: the address listened on
	PeerAdvertise string // what members are told; default: this node's address in Cluster, or the address listened on

	// Cluster is the static bootstrap: every member's name and peer address,
	// this node included, the same on every node. Empty: a cluster of one.
	// Once the cluster is founded, membership comes from the data folder.
	Cluster map[string]string

	Logger *slog.Logger // nil: no log

	TickInterval   time.Duration // the unit of the two below
	HeartbeatTicks int
	ElectionTicks  int   // least election timeout; each is drawn from [E, 2E)
	LeaseNanos     int64 // at most 0.8 of the least election timeout

	SegmentBytes int64 // size of a log segment file
	Limits       Limits

	// OpenFS opens and locks the data folder. Nil: the operating system's
	// files. Tests and simulations put their own below the node here.
	OpenFS func(dir string) (FS, error)
	// NewStateMachine makes the empty state that the log is applied to. Nil:
	// the key-value store.
	NewStateMachine func() replica.StateMachine
}

// Limits bound what outsiders can make a node hold. Zero means the default
// given in package wire.
type Limits struct {
	Connections      int // of clients; members have places of their own
	HeldBytes        int // unfinished requests and unread replies of all connections together
	Requests         int // in flight on one client connection
	RequestBytes     int // in flight on one client connection
	OutboundBytes    int // unread replies of one client before it is closed
	PeerQueueBytes   int // unsent messages to one member before its link is dropped
	UncommittedBytes int // proposals not yet committed
	TailBytes        int // entries kept in memory
	InflightBytes    int // entries sent to one member and not yet acknowledged
}

// Validate fills in defaults and reports the first thing that cannot work, in
// one line that says what to change. The error wraps ErrConfig.
func (c *Config) Validate() error {
	c.fill()
	for _, check := range []func() error{c.checkNames, c.checkAddresses, c.checkTimes, c.checkSizes} {
		if err := check(); err != nil {
			return fmt.Errorf("%w: %w", ErrConfig, err)
		}
	}
	return nil
}

func (c *Config) fill() {
	orDefault(&c.Name, DefaultName)
	orDefault(&c.DataDir, DefaultDataDir)
	orDefault(&c.Listen, DefaultListen)
	orDefault(&c.PeerListen, DefaultPeerListen)
	orDefault(&c.TickInterval, DefaultTickInterval)
	orDefault(&c.HeartbeatTicks, DefaultHeartbeatTicks)
	orDefault(&c.ElectionTicks, DefaultElectionTicks)
	orDefault(&c.LeaseNanos, c.electionNanos()/5*4)
	orDefault(&c.SegmentBytes, wire.DefaultSegmentBytes)
	orDefault(&c.PeerAdvertise, c.Cluster[c.Name])
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	l := &c.Limits
	orDefault(&l.Connections, wire.MaxConnections)
	orDefault(&l.HeldBytes, wire.MaxHeldBytes)
	orDefault(&l.Requests, wire.MaxConnRequests)
	orDefault(&l.RequestBytes, wire.MaxConnBytes)
	orDefault(&l.OutboundBytes, wire.MaxOutboundBytes)
	orDefault(&l.UncommittedBytes, wire.MaxUncommittedBytes)
	orDefault(&l.TailBytes, wire.LogTailBytes)
	orDefault(&l.InflightBytes, 2*wire.MaxAppendBytes)
	orDefault(&l.PeerQueueBytes, 2*l.InflightBytes)
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func (c *Config) electionNanos() int64 { return int64(c.ElectionTicks) * int64(c.TickInterval) }

func (c *Config) checkNames() error {
	if err := checkName(c.Name); err != nil {
		return err
	}
	if len(c.Cluster) == 0 {
		return nil
	}
	if len(c.Cluster) > wire.MaxMembers {
		return fmt.Errorf("the cluster has %d members, at most %d are allowed", len(c.Cluster), wire.MaxMembers)
	}
	if _, ok := c.Cluster[c.Name]; !ok {
		return fmt.Errorf("this node's name %q is not in the cluster list %s: add it or change the name", c.Name, c.clusterText())
	}
	seen := make(map[string]string, len(c.Cluster))
	for _, name := range c.clusterNames() {
		addr := c.Cluster[name]
		if err := checkName(name); err != nil {
			return err
		}
		if err := checkReachable(addr); err != nil {
			return fmt.Errorf("peer address of %q: %w", name, err)
		}
		if other, twice := seen[addr]; twice {
			return fmt.Errorf("%q and %q have the same peer address %s", other, name, addr)
		}
		seen[addr] = name
	}
	return nil
}

func checkName(name string) error {
	ok := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.'
	}
	if name == "" || len(name) > wire.MaxNameBytes || strings.ContainsFunc(name, func(r rune) bool { return !ok(r) }) {
		return fmt.Errorf("name %q: use 1 to %d letters, digits, '-', '_' or '.'", name, wire.MaxNameBytes)
	}
	return nil
}

// clusterNames returns the names of the bootstrap list in their order of ids.
func (c *Config) clusterNames() []string {
	names := make([]string, 0, len(c.Cluster))
	for name := range c.Cluster {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (c *Config) clusterText() string {
	var b strings.Builder
	for i, name := range c.clusterNames() {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(name + "=" + c.Cluster[name])
	}
	return b.String()
}

func (c *Config) checkAddresses() error {
	for _, a := range []struct{ what, addr string }{{"client", c.Listen}, {"peer", c.PeerListen}} {
		if _, err := net.ResolveTCPAddr("tcp", a.addr); err != nil || len(a.addr) > wire.MaxAddrBytes {
			return fmt.Errorf("%s address %q to listen on: use host:port", a.what, a.addr)
		}
	}
	if _, err := net.ResolveTCPAddr("tcp", c.HTTP); c.HTTP != "" && err != nil {
		return fmt.Errorf("HTTP address %q to listen on: use host:port, or nothing for no HTTP", c.HTTP)
	}
	if _, port, _ := net.SplitHostPort(c.Listen); c.Listen == c.PeerListen && port != "0" {
		return fmt.Errorf("clients and members cannot both use %s: give one of them another port", c.Listen)
	}
	if _, port, _ := net.SplitHostPort(c.HTTP); (c.HTTP == c.Listen || c.HTTP == c.PeerListen) && port != "0" {
		return fmt.Errorf("HTTP cannot use %s too: give it another port", c.HTTP)
	}
	for _, a := range []struct{ what, addr, listen string }{
		{"client", c.Advertise, c.Listen},
		{"peer", c.PeerAdvertise, c.PeerListen},
	} {
		if a.addr != "" {
			if err := checkReachable(a.addr); err != nil {
				return fmt.Errorf("advertised %s address: %w", a.what, err)
			}
			continue
		}
		host, _, _ := net.SplitHostPort(a.listen)
		if wildcard(host) && len(c.Cluster) > 1 {
			return fmt.Errorf("listening for %ss on every address (%s): say which one others should use by advertising it", a.what, a.listen)
		}
	}
	return nil
}

// misdirects reports whether members are told an address that cannot be the one
// listened on, unless something forwards it.
func (c *Config) misdirects() bool {
	if len(c.Cluster) < 2 {
		return false
	}
	host, port, _ := net.SplitHostPort(c.PeerListen)
	toldHost, toldPort, _ := net.SplitHostPort(c.PeerAdvertise)
	return port != "0" && port != toldPort || loopback(host) && !loopback(toldHost)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func wildcard(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

// checkReachable checks an address that others are to connect to.
func checkReachable(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || len(addr) > wire.MaxAddrBytes {
		return fmt.Errorf("%q is not host:port", addr)
	}
	if n, err := net.LookupPort("tcp", port); err != nil || n == 0 {
		return fmt.Errorf("%q has no usable port", addr)
	}
	if wildcard(host) {
		return fmt.Errorf("%q names no host that others could connect to", addr)
	}
	return nil
}

func (c *Config) checkTimes() error {
	switch {
	case c.TickInterval < time.Millisecond || c.TickInterval > time.Second:
		return fmt.Errorf("tick interval %v: use 1ms to 1s", c.TickInterval)
	case c.HeartbeatTicks < 1:
		return fmt.Errorf("heartbeat of %d ticks: use at least 1", c.HeartbeatTicks)
	case c.ElectionTicks < 4*c.HeartbeatTicks:
		return fmt.Errorf("election timeout of %d ticks: use at least 4 times the heartbeat of %d", c.ElectionTicks, c.HeartbeatTicks)
	case c.LeaseNanos < 0 || c.LeaseNanos > c.electionNanos()/5*4:
		return fmt.Errorf("lease of %v: use at most 0.8 of the least election timeout %v", time.Duration(c.LeaseNanos), time.Duration(c.electionNanos()))
	}
	return nil
}

func (c *Config) checkSizes() error {
	l := c.Limits
	if c.SegmentBytes%512 != 0 || c.SegmentBytes > 4<<30 {
		return fmt.Errorf("segments of %d bytes: use a multiple of 512, at most %d", c.SegmentBytes, int64(4)<<30)
	}
	for _, s := range []struct {
		what       string
		value, min int64
	}{
		{"segment", c.SegmentBytes, wire.MinSegmentBytes},
		{"connections", int64(l.Connections), 1},
		{"held bytes", int64(l.HeldBytes), 4 * wire.MaxFrameBytes},
		{"requests in flight", int64(l.Requests), 1},
		{"request bytes in flight", int64(l.RequestBytes), wire.MaxFrameBytes},
		{"outbound bytes", int64(l.OutboundBytes), wire.MaxFrameBytes},
		{"peer queue bytes", int64(l.PeerQueueBytes), wire.MaxAppendBytes},
		{"uncommitted bytes", int64(l.UncommittedBytes), wire.MaxAppendBytes},
		{"tail bytes", int64(l.TailBytes), wire.MaxAppendBytes},
		{"bytes in flight to a member", int64(l.InflightBytes), wire.MaxAppendBytes},
	} {
		if s.value < s.min {
			return fmt.Errorf("limit %q is %d: use at least %d", s.what, s.value, s.min)
		}
	}
	return nil
}
