package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/client"
	"github.com/dnode-engine/dnode/wire"
)

// listen serves connections with the given function until the test ends.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var conns []net.Conn
	var running sync.WaitGroup
	running.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, nc)
			mu.Unlock()
			running.Go(func() { serve(nc) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, nc := range conns {
			nc.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return l.Addr().String()
}

// wrongEndpoints are addresses behind which there is no node to serve a client.
func wrongEndpoints(t *testing.T, c *cluster) map[string]string {
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	ack := wire.HelloAck{Version: wire.Version, Name: "n9", MaxFrame: wire.MaxFrameBytes, Requests: 100, Bytes: 1 << 20}
	hello := wire.AppendFrame(nil, wire.FrameHelloAck, 0, wire.AppendHelloAck(nil, &ack))
	return map[string]string{
		"closed":       freePorts(t, 1)[0],
		"another host": "127.0.0.255:1",
		"no host":      "nowhere.invalid:7400",
		"silent":       listen(t, func(net.Conn) {}),
		"hangs up":     listen(t, func(nc net.Conn) { nc.Close() }),
		"http":         strings.TrimPrefix(web.URL, "http://"),
		"peer port":    c.nodes[0].peer,
		"echo":         listen(t, func(nc net.Conn) { _, _ = io.Copy(nc, nc) }),
		"noise": listen(t, func(nc net.Conn) {
			for _, err := nc.Write(make([]byte, 4096)); err == nil; _, err = nc.Write(make([]byte, 4096)) {
			}
		}),
		"hello and no more": listen(t, func(nc net.Conn) {
			_, _ = nc.Write(hello)
			_, _ = io.Copy(io.Discard, nc)
		}),
		"drips": listen(t, func(nc net.Conn) {
			for i := range hello {
				if _, err := nc.Write(hello[i : i+1]); err != nil {
					return
				}
				rest(t.Context(), 100*time.Millisecond)
			}
		}),
	}
}

// An endpoint behind which there is no node keeps nobody from the cluster when
// it stands in front of a good one; alone it ends in time with exit code 5 and
// one line that names it.
func TestWrongEndpoints(t *testing.T) {
	c := newCluster(t, 1)
	c.open().Close()
	good := c.nodes[0].client
	put := func(t *testing.T, limit time.Duration, endpoints ...string) (took time.Duration, err error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		began := time.Now()
		cl, err := client.Open(ctx, client.Config{Endpoints: endpoints})
		if err == nil {
			_, err = cl.Put(ctx, "k", nil)
			cl.Close()
		}
		return time.Since(began), err
	}
	for name, addr := range wrongEndpoints(t, c) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			took, err := put(t, 1500*time.Millisecond, addr)
			if !errors.Is(err, client.ErrUnavailable) || !strings.Contains(err.Error(), addr) || took > 2500*time.Millisecond {
				t.Errorf("alone: %v after %v", err, took)
			}
			if took, err = put(t, 5*time.Second, addr, good); err != nil || took > 2*time.Second {
				t.Errorf("in front of a good one: %v after %v", err, took)
			}
			got := cli(t, "put", "k", "v", "-e", addr, "--timeout", "1s")
			if got.code != exitUnavailable || strings.Count(got.err, "\n") != 1 || !strings.Contains(got.err, addr) {
				t.Errorf("on the command line: %+v", got)
			}
			if got = cli(t, "put", "k", "v", "-e", addr+","+good); got.code != exitOK {
				t.Errorf("on the command line, in front of a good one: %+v", got)
			}
		})
	}
}
