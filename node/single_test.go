package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gneterrors "github.com/panjf2000/gnet/v2/pkg/errors"

	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wire"
)

func TestSingleNodeServes(t *testing.T) {
	n := start(t, testConfig(t, "n1"))
	c := mustConnect(t, n.ClientAddr())
	eventually(t, "first put", func() error { return c.put("k", "v") })
	for _, level := range []wire.Consistency{wire.Linearizable, wire.Lease, wire.Stale} {
		if got, err := c.get(level, "k"); err != nil || got != "v" {
			t.Errorf("get level %d: %q, %v", level, got, err)
		}
	}
	if _, err := c.get(wire.Linearizable, "other"); !errors.Is(err, errNoKey) {
		t.Errorf("get of a missing key: %v", err)
	}
	shutdown(t, n)
	if err := n.Wait(); err != nil {
		t.Errorf("Wait after an orderly stop: %v", err)
	}
}

// Many requests in one segment are answered by one connection, all of them, in
// whatever order.
func TestPipelining(t *testing.T) {
	n := start(t, testConfig(t, "n1"))
	c := mustConnect(t, n.ClientAddr())
	eventually(t, "first put", func() error { return c.put("k", "v") })
	const count = 3000
	var out []byte
	want := map[uint64]bool{}
	for i := range count {
		if i%2 == 0 {
			out = append(out, c.putFrame(fmt.Sprintf("k%d", i), strings.Repeat("x", i%300))...)
		} else {
			out = append(out, c.getFrame(wire.Linearizable, fmt.Sprintf("k%d", i-1))...)
		}
		want[c.id] = true
	}
	if _, err := c.Write(out); err != nil {
		t.Fatal(err)
	}
	for len(want) > 0 {
		f, err := c.next()
		if err != nil {
			t.Fatalf("%d answers missing: %v", len(want), err)
		}
		if !want[f.ID] {
			t.Fatalf("answer to %d, which is not waited for", f.ID)
		}
		delete(want, f.ID)
	}
}

func TestRestartFindsEverything(t *testing.T) {
	for _, orderly := range []bool{true, false} {
		t.Run(fmt.Sprintf("orderly=%v", orderly), func(t *testing.T) {
			cfg := testConfig(t, "n1")
			var cluster wire.ClusterID
			for round := range 3 {
				n := start(t, cfg)
				c := mustConnect(t, n.ClientAddr())
				eventually(t, "put", func() error { return c.put(fmt.Sprintf("k%d", round), "v") })
				for i := range round {
					if got, err := c.get(wire.Linearizable, fmt.Sprintf("k%d", i)); err != nil || got != "v" {
						t.Fatalf("round %d: k%d is %q, %v", round, i, got, err)
					}
				}
				eventually(t, "cluster id", func() error {
					id := n.Status().Cluster
					if id.IsZero() || round > 0 && id != cluster {
						return fmt.Errorf("cluster %s, was %s", id, cluster)
					}
					cluster = id
					return nil
				})
				if orderly {
					shutdown(t, n)
				} else {
					n.Kill()
				}
			}
		})
	}
}

// The configuration keeps the address that a member had when it was written;
// status tells the one that it has.
func TestStatusNamesThePresentAddress(t *testing.T) {
	cfg := testConfig(t, "n1")
	for range 2 {
		n := start(t, cfg)
		eventually(t, "status", func() error {
			st := n.Status()
			if len(st.Members) != 1 || st.Members[0].ClientAddr != n.ClientAddr() {
				return fmt.Errorf("members %+v, want one on %s", st.Members, n.ClientAddr())
			}
			return nil
		})
		eventually(t, "ready", func() error {
			if v := n.statusView(); v.NotReady == nil || len(v.NotReady) > 0 {
				return fmt.Errorf("not_ready is %#v, want an empty list", v.NotReady)
			}
			return nil
		})
		shutdown(t, n)
	}
}

func TestFolderRefusals(t *testing.T) {
	cfg := testConfig(t, "n1")
	n := start(t, cfg)
	f := func(what string, change func(*Config), want error, text string) {
		t.Helper()
		other := cfg
		change(&other)
		m, err := Start(t.Context(), other)
		if err == nil {
			m.Kill()
			t.Fatalf("%s: started", what)
		}
		if want != nil && !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, want %v with %q", what, err, want, text)
		}
	}
	f("folder in use", func(*Config) {}, wal.ErrLocked, "in use")
	f("port in use", func(c *Config) { c.DataDir, c.Listen = t.TempDir(), n.ClientAddr() }, nil, "address already in use")
	f("peer port in use", func(c *Config) { c.DataDir, c.PeerListen = t.TempDir(), n.PeerAddr() }, nil, "address already in use")
	f("HTTP port in use", func(c *Config) { c.DataDir, c.HTTP = t.TempDir(), n.HTTPAddr() }, nil, "address already in use")
	shutdown(t, n)
	f("another name", func(c *Config) { c.Name = "n2" }, ErrIdentity, `belongs to "n1"`)
	again := start(t, cfg)
	shutdown(t, again)
	without := func(name string, refused func()) {
		t.Helper()
		path, aside := filepath.Join(cfg.DataDir, name), filepath.Join(t.TempDir(), name)
		if err := os.Rename(path, aside); err != nil {
			t.Fatal(err)
		}
		refused()
		if err := errors.Join(os.RemoveAll(path), os.Rename(aside, path)); err != nil {
			t.Fatal(err)
		}
	}
	without("wal", func() { f("log lost", func(*Config) {}, nil, "holds no configuration") })
	if err := os.Remove(filepath.Join(cfg.DataDir, "identity")); err != nil {
		t.Fatal(err)
	}
	f("identity lost", func(*Config) {}, ErrIdentity, `"identity"`)
	without("wal", func() { f("identity and log lost", func(*Config) {}, ErrIdentity, `"identity"`) })
	without("vote", func() { f("identity and vote lost", func(*Config) {}, ErrIdentity, `"identity"`) })
	if _, err := os.Stat(filepath.Join(cfg.DataDir, "identity")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a new identity was given to an old folder: %v", err)
	}
}

// A node that listens on every address tells clients one that can be dialled.
func TestListeningEverywhere(t *testing.T) {
	cfg := testConfig(t, "n1")
	cfg.Listen = ":0"
	n := start(t, cfg)
	_, port, err := net.SplitHostPort(n.ClientAddr())
	if err != nil {
		t.Fatal(err)
	}
	c := mustConnect(t, "127.0.0.1:"+port)
	eventually(t, "put", func() error { return c.put("k", "v") })
	if got := n.self.Load().clientAddr; got != "127.0.0.1:"+port {
		t.Errorf("clients are told %s", got)
	}
}

func TestHealthAndMetrics(t *testing.T) {
	n := start(t, testConfig(t, "n1"))
	c := mustConnect(t, n.ClientAddr())
	eventually(t, "put", func() error { return c.put("k", "v") })
	get := func(path string) (int, string, error) {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: testPatience}
		resp, err := client.Get("http://" + n.HTTPAddr() + path)
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b), err
	}
	f := func(path string, want ...string) {
		t.Helper()
		eventually(t, path, func() error {
			code, body, err := get(path)
			if err != nil || code != http.StatusOK {
				return fmt.Errorf("status %d: %s %w", code, body, err)
			}
			for _, w := range want {
				if !strings.Contains(body, w) {
					return fmt.Errorf("no %q in %s", w, body)
				}
			}
			return nil
		})
	}
	f("/livez", "ok")
	f("/readyz", "ok")
	f("/status", `"role": "leader"`, `"name": "n1"`, `"leader": "n1"`)
	f("/metrics", "# HELP dnode_raft_term", "# TYPE dnode_wal_sync_seconds histogram", `dnode_wal_sync_seconds_bucket{le="2e-05"}`,
		`dnode_requests_total{kind="put",result="ok"} 1`, `dnode_raft_role{role="leader"} 1`, "dnode_connections 1", "process_resident_memory_bytes", "go_goroutines")
	_, body, err := get("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	parseExposition(t, body)
}

func TestConnectionsThatBreakTheRules(t *testing.T) {
	cfg := testConfig(t, "n1")
	cfg.Limits.Connections = 4
	cfg.Limits.Requests = 8
	n := start(t, cfg)
	eventually(t, "founded", func() error {
		if n.self.Load().cluster.IsZero() || n.Status().Cluster.IsZero() {
			return errors.New("no cluster")
		}
		return nil
	})
	goodHello := func(side wire.Side, change func(*wire.Hello)) []byte {
		h := wire.Hello{Version: wire.Version, MinVersion: wire.MinVersion, Side: side, Name: "x"}
		if change != nil {
			change(&h)
		}
		return wire.AppendFrame(nil, wire.FrameHello, 0, wire.AppendHello(nil, &h))
	}
	want := map[wire.Code]uint64{}
	f := func(what, addr string, sent []byte, code wire.Code, text string) {
		t.Helper()
		want[code]++
		c, err := dialRaw(addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write(sent); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		for err == nil {
			_, err = c.next()
		}
		if !isCode(err, code) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, want %v with %q", what, err, code, text)
		}
		if _, err := c.next(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: connection not closed after the reason: %v", what, err)
		}
	}
	client, peer := n.ClientAddr(), n.PeerAddr()
	garbage := []byte(strings.Repeat("GET / HTTP/1.1\r\n", 10))
	f("garbage to clients", client, garbage, wire.CodeBadFrame, "")
	f("garbage to members", peer, garbage, wire.CodeBadFrame, "")
	f("request before hello", client, (&raw{}).putFrame("k", "v"), wire.CodeUnexpected, "")
	f("client on the peer port", peer, goodHello(wire.ClientSide, nil), wire.CodeUnexpected, "clients connect to "+client)
	f("member on the client port", client, goodHello(wire.PeerSide, nil), wire.CodeUnexpected, "members connect to "+peer)
	f("future version", client, goodHello(wire.ClientSide, func(h *wire.Hello) { h.Version, h.MinVersion = 9, 8 }), wire.CodeVersion, "8 to 9")
	f("other cluster", client, goodHello(wire.ClientSide, func(h *wire.Hello) { h.Cluster[0] = 7 }), wire.CodeWrongCluster, n.Status().Cluster.String())
	f("other cluster's member", peer, goodHello(wire.PeerSide, func(h *wire.Hello) { h.Cluster[0] = 7 }), wire.CodeWrongCluster, "07000000")
	f("fresh stranger", peer, goodHello(wire.PeerSide, nil), wire.CodeNotFresh, "no member of that name")
	f("called by another name", peer, goodHello(wire.PeerSide, func(h *wire.Hello) { h.To = "n7" }), wire.CodeWrongIdentity, `"n7"`)
	f("unknown member", peer, goodHello(wire.PeerSide, func(h *wire.Hello) { h.Cluster = n.Status().Cluster }), wire.CodeWrongIdentity, "not a member")
	f("a namesake", peer, goodHello(wire.PeerSide, func(h *wire.Hello) { h.Name = "n1" }), wire.CodeWrongIdentity, "same name")
	f("second hello", client, append(goodHello(wire.ClientSide, nil), goodHello(wire.ClientSide, nil)...), wire.CodeUnexpected, "")
	f("reply to the server", client, append(goodHello(wire.ClientSide, nil), wire.AppendFrame(nil, wire.FrameWriteReply, 1, nil)...), wire.CodeUnexpected, "")
	big := make([]byte, wire.MaxFrameBytes+1)
	f("oversized frame", client, append(goodHello(wire.ClientSide, nil), wire.AppendFrame(nil, wire.FrameWrite, 1, big)[:200]...), wire.CodeTooLarge, "")
	bad := (&raw{}).putFrame("k", "v")
	bad[len(bad)-1]++
	f("damaged body", client, append(goodHello(wire.ClientSide, nil), bad...), wire.CodeBadFrame, "")
	var flood []byte
	for c := (&raw{}); c.id < 9; {
		flood = append(flood, c.putFrame("k", "v")...)
	}
	f("more than was granted", client, append(goodHello(wire.ClientSide, nil), flood...), wire.CodeCredit, "more than the 8 requests")
	f("silence", client, nil, wire.CodeHelloTimeout, "2s")
	checkConnectionLimit(t, n)
	want[wire.CodeConnections]++
	eventually(t, "reasons to be counted", func() error {
		s := n.published.get()
		for code, count := range want {
			if s.closed[code] != count {
				return fmt.Errorf("%v: %d counted, want %d", code, s.closed[code], count)
			}
		}
		return nil
	})
}

func checkConnectionLimit(t *testing.T, n *Node) {
	t.Helper()
	eventually(t, "connections to go", func() error {
		if c := n.published.get().conns; c > 0 {
			return fmt.Errorf("%d connections", c)
		}
		return nil
	})
	for range 4 {
		mustConnect(t, n.ClientAddr())
	}
	if _, err := connect(n.ClientAddr()); !isCode(err, wire.CodeConnections) {
		t.Errorf("connection over the limit: %v", err)
	}
}

// A client that asks and does not read is told so and closed; memory does not
// grow with its appetite.
func TestSlowReaderIsClosed(t *testing.T) {
	cfg := testConfig(t, "n1")
	cfg.Limits.OutboundBytes = wire.MaxFrameBytes
	n := start(t, cfg)
	c := mustConnect(t, n.ClientAddr())
	value := strings.Repeat("v", 512<<10)
	eventually(t, "put", func() error { return c.put("k", value) })
	if err := c.Conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	var ask []byte
	for range 100 {
		ask = append(ask, c.getFrame(wire.Stale, "k")...)
	}
	if _, err := c.Write(ask); err != nil {
		t.Fatal(err)
	}
	eventually(t, "slow reader to be noticed", func() error {
		if s := n.published.get(); s.closed[wire.CodeSlowReader] != 1 {
			return fmt.Errorf("counted %d", s.closed[wire.CodeSlowReader])
		}
		return nil
	})
	eventually(t, "slow reader to be closed", func() error {
		if s := n.published.get(); s.conns != 0 {
			return fmt.Errorf("%d connections", s.conns)
		}
		return nil
	})
}

func TestShutdownAnswersWhatIsInFlight(t *testing.T) {
	n := start(t, testConfig(t, "n1"))
	c := mustConnect(t, n.ClientAddr())
	eventually(t, "put", func() error { return c.put("k", "v") })
	const count = 2000
	var out []byte
	for i := range count {
		out = append(out, c.putFrame(fmt.Sprintf("k%d", i), "v")...)
	}
	if _, err := c.Write(out); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		shutdown(t, n)
	}()
	answers, refusals := 0, 0
	for {
		f, err := c.next()
		switch {
		case isCode(err, wire.CodeShutdown):
			refusals++
			continue
		case err == nil && f.Type == wire.FrameWriteReply:
			answers++
			continue
		}
		if !errors.Is(err, io.EOF) {
			t.Logf("connection ended by %v", err)
		}
		break
	}
	<-stopped
	if answers+refusals != count && answers == 0 {
		t.Errorf("%d answers and %d refusals for %d requests", answers, refusals, count)
	}
	if _, err := net.DialTimeout("tcp", n.ClientAddr(), time.Second); err == nil {
		t.Error("port still open after Shutdown")
	}
}

// endOfLoop makes gnet leave its loop, as an error of its poller does.
type endOfLoop struct{}

func (endOfLoop) Run(context.Context) error { return gneterrors.ErrEngineShutdown }

// gnet tells nobody when its loop ends; the node must not live on as if nothing
// had happened.
func TestLoopEndsByItself(t *testing.T) {
	n := start(t, testConfig(t, "n1"))
	if err := n.loop.el.Execute(t.Context(), endOfLoop{}); err != nil {
		t.Fatal(err)
	}
	if err := n.Wait(); !errors.Is(err, errLoopEnded) {
		t.Errorf("stopped with %v", err)
	}
}

func TestHistogram(t *testing.T) {
	h := histogram{first: 20}
	for _, v := range []int64{0, 20, 21, 40, 41, 20 << 19, 20<<19 + 1, 1 << 60} {
		h.observe(v)
	}
	if h.counts[0] != 2 || h.counts[1] != 2 || h.counts[2] != 1 || h.counts[19] != 1 || h.counts[20] != 2 {
		t.Errorf("counts %v", h.counts)
	}
}

// Membership comes from the folder; a list that says otherwise is a warning.
func TestOtherListIsAWarning(t *testing.T) {
	cfg := testConfig(t, "n1")
	n := start(t, cfg)
	c := mustConnect(t, n.ClientAddr())
	eventually(t, "put", func() error { return c.put("k", "v") })
	shutdown(t, n)
	var log testLog
	cfg.Logger = log.logger()
	cfg.Cluster = map[string]string{"n1": "127.0.0.1:1", "n2": "127.0.0.1:2"}
	n = start(t, cfg)
	c = mustConnect(t, n.ClientAddr())
	eventually(t, "put", func() error { return c.put("k", "v") })
	if !strings.Contains(log.String(), "differs from the cluster's own") || len(n.Status().Members) != 1 {
		t.Errorf("no warning, or %d members, in:\n%s", len(n.Status().Members), log.String())
	}
}
