package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"github.com/dnode-engine/dnode/wire"
)

const (
	readBufferCap  = 512 << 10 // one for all connections; bounds what one of them gets per turn
	writeBufferCap = 16 << 10  // what gnet keeps of its own for a connection that does not read
)

// openPorts listens for clients and members. Nobody accepts yet.
func (n *Node) openPorts(ctx context.Context) error {
	var err error
	if n.client, err = n.listen(ctx, wire.ClientSide, n.cfg.Listen, "clients"); err != nil {
		return err
	}
	if n.peer, err = n.listen(ctx, wire.PeerSide, n.cfg.PeerListen, "members"); err != nil {
		n.client.close()
		return err
	}
	n.clientAddr, n.peerAddr = n.client.addr(n.cfg.Listen), n.peer.addr(n.cfg.PeerListen)
	return nil
}

// listen opens one port. Go sets reuse-address, and reuse-port only if told so:
// never do, for a second node would then share the port without an error.
func (n *Node) listen(ctx context.Context, side wire.Side, addr, what string) (*port, error) {
	lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: keepAlive, Interval: keepAlive / 5, Count: 5,
	}}
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, listenError(addr, what, err)
	}
	return &port{n: n, ln: ln.(*net.TCPListener), side: side, done: make(chan struct{})}, nil
}

// listenError says what to do about a port that cannot be had.
func listenError(addr, what string, err error) error {
	advice := ""
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		advice = "; another program has it: stop that, or use another port"
	case errors.Is(err, unix.EADDRNOTAVAIL):
		advice = "; it is no address of this machine: listen on one of its own, and advertise this one if it leads here"
	}
	return fmt.Errorf("cannot listen on %s for %s: %w%s", addr, what, err, advice)
}

// addr returns the address listened on with its real port.
func (p *port) addr(asked string) string {
	host, _, _ := net.SplitHostPort(asked)
	return net.JoinHostPort(host, strconv.Itoa(p.ln.Addr().(*net.TCPAddr).Port))
}

// dialable turns an address listened on into one that can be connected to.
func dialable(addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil && wildcard(host) {
		host = "::1"
	} else if wildcard(host) {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// anchor is the context of one end of a socket pair that stays in the loop for
// as long as that runs: gnet hands out its loop with a connection only, and only
// closing all connections tells that the loop has ended.
type anchor struct{}

// startLoop starts gnet's loop, which has no listener of its own.
func (n *Node) startLoop() error {
	cli, err := gnet.NewClient(n.loop, gnet.WithNumEventLoop(1),
		gnet.WithReadBufferCap(readBufferCap), gnet.WithWriteBufferCap(writeBufferCap),
		gnet.WithTCPNoDelay(gnet.TCPDelay), // net has set no-delay; gnet loses a descriptor if it cannot
		gnet.WithLogger(gnetLog{n.log}))
	if err == nil {
		err = cli.Start()
	}
	if err != nil {
		return fmt.Errorf("cannot start the event loop: %w", err)
	}
	n.gnet = cli
	inside, outside, err := socketPair()
	if err == nil {
		n.anchor = outside
		var gc gnet.Conn
		if gc, err = cli.EnrollContext(inside, anchor{}); err == nil {
			n.loop.el = gc.EventLoop()
			return nil
		}
	}
	n.stopLoop()
	return fmt.Errorf("cannot reach the event loop: %w", err)
}

// stopLoop ends gnet and returns when its goroutine has ended.
func (n *Node) stopLoop() {
	_ = n.gnet.Stop() // has logged what its loop ended with
	if n.anchor != nil {
		_ = n.anchor.Close()
	}
}

func socketPair() (a, b net.Conn, err error) {
	syscall.ForkLock.RLock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	a, errA := fileConn(fds[0])
	b, errB := fileConn(fds[1])
	if err = errors.Join(errA, errB); err == nil {
		return a, b, nil
	}
	for _, c := range []net.Conn{a, b} {
		if c != nil {
			_ = c.Close()
		}
	}
	return nil, nil, err
}

func fileConn(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "socketpair")
	defer f.Close()
	return net.FileConn(f)
}

// forgetZone takes the zone's name off the addresses of a connection that is
// about to be enrolled: gnet would take the name's memory for its own and reuse it.
func forgetZone(c *net.TCPConn) {
	for _, a := range []net.Addr{c.LocalAddr(), c.RemoteAddr()} {
		if tcp, ok := a.(*net.TCPAddr); ok {
			tcp.Zone = ""
		}
	}
}
