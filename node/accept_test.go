package node

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dnode-engine/dnode/wire"
)

// A node with few descriptors outlives any number of connections: some are
// served, the others told that they are too many or closed, and whoever was in
// goes on.
func TestFewFilesManyConnections(t *testing.T) {
	v := startVictim(t, victimConfig{Files: 256})
	old := mustConnect(t, v.client)
	before := v.health()
	const count = 2000
	for round := range 3 {
		var mu sync.Mutex
		var all []*raw
		var served, told, closed atomic.Int64
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				for n := i; n < count; n += 16 {
					addr, side := v.client, wire.ClientSide
					if n%8 == 7 {
						addr, side = v.peer, wire.PeerSide
					}
					c, err := dialRaw(addr)
					if err != nil {
						closed.Add(1)
						continue
					}
					mu.Lock()
					all = append(all, c)
					mu.Unlock()
					if n%3 == 0 { // silent
						continue
					}
					switch _, err := c.hello(wire.Hello{Side: side, Name: "x"}); {
					case err == nil:
						served.Add(1)
					case isCode(err, wire.CodeConnections):
						told.Add(1)
					default:
						closed.Add(1)
					}
				}
			})
		}
		wg.Wait()
		t.Logf("round %d: %d served, %d told that they are too many, %d closed", round, served.Load(), told.Load(), closed.Load())
		if served.Load() == 0 || told.Load() == 0 {
			t.Errorf("round %d: nobody was served, or nobody told", round)
		}
		if err := old.SetDeadline(time.Now().Add(testPatience)); err != nil {
			t.Fatal(err)
		}
		for range 20 { // more than a segment: the log opens files meanwhile
			if err := old.put("k", strings.Repeat("v", wire.MinSegmentBytes/16)); err != nil {
				t.Fatalf("who was in: %v", err)
			}
		}
		for _, c := range all {
			_ = c.Close()
		}
		eventually(t, "room for a new client", func() error {
			c, err := connect(v.client)
			if err != nil {
				return err
			}
			defer c.Close()
			return c.put("k", "v")
		})
	}
	v.recovers(before, nil)
}

// When somebody else in the process has taken every descriptor, the node lives
// on, counts what it could not accept, says so once in a while, and accepts again
// as soon as there is room: who called meanwhile is served then.
func TestNoFilesLeft(t *testing.T) {
	var log testLog
	cfg := testConfig(t, "n1")
	cfg.Logger = log.logger()
	n := start(t, cfg)
	old := mustConnect(t, n.ClientAddr())
	eventually(t, "put", func() error { return old.put("k", "v") })
	eventually(t, "the next segment to be prepared: the log needs no descriptor then", func() error {
		_, err := os.Stat(filepath.Join(cfg.DataDir, "wal", "00000003.seg"))
		return err
	})
	sockets := make([]int, 8) // of those who call meanwhile
	for i := range sockets {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		sockets[i] = fd
	}
	giveBack := takeFiles(t)
	to := &unix.SockaddrInet4{Port: n.client.ln.Addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
	for _, fd := range sockets {
		if err := unix.Connect(fd, to); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "failures to be counted", func() error {
		if s := n.published.get(); s.acceptFailed < 3 {
			return fmt.Errorf("%d", s.acceptFailed)
		}
		return nil
	})
	if err := old.put("k", "w"); err != nil {
		t.Errorf("who was in: %v", err)
	}
	giveBack()
	served := 0
	for _, fd := range sockets {
		f := os.NewFile(uintptr(fd), "late")
		c, err := net.FileConn(f)
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := (&raw{Conn: c}).hello(wire.Hello{Side: wire.ClientSide, Name: "late"}); err == nil {
			served++
		}
	}
	if served < len(sockets) {
		t.Errorf("%d of %d served afterwards", served, len(sockets))
	}
	if failed, said := n.published.get().acceptFailed, strings.Count(log.String(), "accept.failed"); said == 0 || said > 2 {
		t.Errorf("%d warnings of %d failures", said, failed)
	}
}

// takeFiles makes it impossible to open another descriptor until what it returns
// is called.
func takeFiles(t *testing.T) (giveBack func()) {
	t.Helper()
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	giveBack = sync.OnceFunc(func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(giveBack)
	return giveBack
}

// A limit on open files that leaves too little is refused in words, and a small
// one leaves fewer places for clients, never fewer for the log.
func TestPlaces(t *testing.T) {
	f := func(files uint64, asked int, want places) {
		t.Helper()
		got, err := placesFor(files, asked)
		if err != nil || got != want {
			t.Errorf("%d files, %d connections: %+v, %v; want %+v", files, asked, got, err, want)
		}
		if used := got.clients + got.refused + got.members + got.http + ownFiles; uint64(used) > files {
			t.Errorf("%d of %d files", used, files)
		}
	}
	f(128, 10_000, places{clients: 16, refused: 16, members: 16, http: 8})
	f(256, 10_000, places{clients: 96, refused: 32, members: 32, http: 16})
	f(1024, 10_000, places{clients: 576, refused: 128, members: 128, http: 64})
	f(1024, 100, places{clients: 100, refused: 128, members: 128, http: 64})
	f(1<<20, 10_000, places{clients: 10_000, refused: 128, members: 256, http: 64})
	f(unix.RLIM_INFINITY, 10_000, places{clients: 10_000, refused: 128, members: 256, http: 64})
	f(10_000+fullReserve, 10_000, places{clients: 10_000, refused: 128, members: 256, http: 64})
	for _, files := range []uint64{0, 12, 127} {
		if _, err := placesFor(files, 10_000); err == nil || !strings.Contains(err.Error(), "at least 128, and 10576 for 10000 connections") {
			t.Errorf("%d files: %v", files, err)
		}
	}
}

// A start that fails at any port leaves no descriptor behind, and the ports that
// it had are free again.
func TestFailedStartLeavesNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addrs, giveBack := reserve(t, 3)
	for i := range addrs {
		giveBack[i]()
	}
	cfg := testConfig(t, "n1")
	ports := []*string{&cfg.Listen, &cfg.PeerListen, &cfg.HTTP}
	for i, port := range ports {
		*port = addrs[i]
	}
	shutdown(t, start(t, cfg)) // the folder exists, lazy descriptors are open
	before := openFiles(t)
	for i, port := range ports {
		*port = taken.Addr().String()
		if _, err := Start(t.Context(), cfg); !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), "another program has it") {
			t.Errorf("port %d: %v", i, err)
		}
		*port = addrs[i]
	}
	eventually(t, "descriptors to be closed", func() error {
		if now := openFiles(t); now > before {
			return fmt.Errorf("%d, were %d", now, before)
		}
		return nil
	})
	n := start(t, cfg)
	n.Kill()
	shutdown(t, start(t, cfg))
}

func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// The kernel asks silent connections whether the other side is still there:
// without that a client that vanished keeps its place for ever.
func TestAcceptedConnectionsAreKeptAlive(t *testing.T) {
	n := start(t, testConfig(t, "n1"))
	mustConnect(t, n.ClientAddr())
	found := make(chan error, 1)
	n.loop.call(func(l *loop) {
		fd := l.conns.slots[0].gc.Fd()
		alive, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE)
		noDelay, err2 := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY)
		if alive == 0 || noDelay == 0 {
			err = fmt.Errorf("keep-alive %d, no-delay %d", alive, noDelay)
		}
		found <- errors.Join(err, err2)
	})
	if err := <-found; err != nil {
		t.Error(err)
	}
}

// However many connections somebody holds on the HTTP port, their number is
// bounded and a probe is answered.
func TestManyHTTPConnections(t *testing.T) {
	n := start(t, testConfig(t, "n1"))
	before := openFiles(t)
	const count = 4 * maxHTTPConns
	for range count {
		c, err := net.Dial("tcp", n.HTTPAddr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	for range 3 {
		resp, err := http.Get("http://" + n.HTTPAddr() + "/livez")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("probe: %s", resp.Status)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if files := openFiles(t) - before - count; files > 2*maxHTTPConns { // now, not when they have timed out
		t.Errorf("%d descriptors", files)
	}
}
