package node

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/wire"
)

func TestConfigDefaults(t *testing.T) {
	var c Config
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if c.Name != "n1" || c.Listen != "127.0.0.1:7400" || c.PeerListen != "127.0.0.1:7401" || c.HTTP != "" ||
		c.TickInterval != 10*time.Millisecond || c.HeartbeatTicks != 5 || c.ElectionTicks != 50 ||
		c.LeaseNanos != int64(400*time.Millisecond) || c.SegmentBytes != wire.DefaultSegmentBytes ||
		c.Limits.Connections != wire.MaxConnections || c.Logger == nil {
		t.Errorf("defaults: %+v", c)
	}
	before := c
	if err := c.Validate(); err != nil || c.LeaseNanos != before.LeaseNanos || c.Limits != before.Limits {
		t.Errorf("a valid configuration was changed: %v", err)
	}
}

func TestConfigRefusals(t *testing.T) {
	f := func(want string, change func(*Config)) {
		t.Helper()
		var c Config
		change(&c)
		if err := c.Validate(); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	two := map[string]string{"n1": "127.0.0.1:1", "n2": "127.0.0.1:2"}
	f("1 to 64 letters", func(c *Config) { c.Name = "a,b" })
	f("1 to 64 letters", func(c *Config) { c.Name = strings.Repeat("a", 65) })
	f("not in the cluster list n1=127.0.0.1:1,n2=127.0.0.1:2", func(c *Config) { c.Name, c.Cluster = "n3", two })
	f("no usable port", func(c *Config) { c.Cluster = map[string]string{"n1": "127.0.0.1:0"} })
	f("not host:port", func(c *Config) { c.Cluster = map[string]string{"n1": "here"} })
	f("names no host", func(c *Config) { c.Cluster = map[string]string{"n1": "0.0.0.0:7401"} })
	f("same peer address", func(c *Config) { c.Cluster = map[string]string{"n1": "h:1", "n2": "h:1"} })
	f("use host:port", func(c *Config) { c.Listen = "7400" })
	f("cannot both use", func(c *Config) { c.Listen, c.PeerListen = "127.0.0.1:9", "127.0.0.1:9" })
	f("HTTP cannot use 127.0.0.1:9 too", func(c *Config) { c.HTTP, c.PeerListen = "127.0.0.1:9", "127.0.0.1:9" })
	f("HTTP cannot use 127.0.0.1:7400 too", func(c *Config) { c.HTTP = DefaultListen })
	f(`HTTP address "7402"`, func(c *Config) { c.HTTP = "7402" })
	f("advertised client address", func(c *Config) { c.Advertise = "0.0.0.0:1" })
	f("advertising it", func(c *Config) { c.Cluster, c.Listen = two, ":7400" })
	f("at least 4 times", func(c *Config) { c.HeartbeatTicks, c.ElectionTicks = 5, 19 })
	f("0.8 of the least election", func(c *Config) { c.LeaseNanos = int64(time.Second) })
	f("tick interval", func(c *Config) { c.TickInterval = time.Microsecond })
	f(`"segment" is 4096`, func(c *Config) { c.SegmentBytes = 4096 })
	f("multiple of 512", func(c *Config) { c.SegmentBytes = wire.MinSegmentBytes + 1 })
	f(`"connections" is -1`, func(c *Config) { c.Limits.Connections = -1 })
}

// Members that are told where nobody listens wait for ever: that is said.
func TestMisdirectedMembers(t *testing.T) {
	f := func(want bool, listen, told string) {
		t.Helper()
		c := Config{PeerListen: listen, Cluster: map[string]string{"n1": told, "n2": "10.0.0.2:7401"}}
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		if got := c.misdirects(); got != want {
			t.Errorf("listening on %s, told %s: got %v", listen, told, got)
		}
	}
	f(false, "10.0.0.1:7401", "10.0.0.1:7401")
	f(false, "0.0.0.0:7401", "10.0.0.1:7401")
	f(false, "127.0.0.1:0", "127.0.0.1:7401")
	f(false, "127.0.0.1:7401", "localhost:7401")
	f(true, "127.0.0.1:7401", "10.0.0.1:7401")
	f(true, "10.0.0.1:7401", "10.0.0.1:7411")
}

func TestListenErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	f := func(want string, change func(*Config)) {
		t.Helper()
		cfg := testConfig(t, "n1")
		change(&cfg)
		n, err := Start(t.Context(), cfg)
		if err == nil {
			n.Kill()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	const advice = "another program has it: stop that, or use another port"
	f(advice, func(c *Config) { c.Listen = taken.Addr().String() })
	f(advice, func(c *Config) { c.PeerListen = taken.Addr().String() })
	f(advice, func(c *Config) { c.HTTP = taken.Addr().String() })
	f("it is no address of this machine", func(c *Config) { c.Listen = "192.0.2.1:7400" })
}
