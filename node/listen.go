package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"github.com/dnode-engine/dnode/wire"
)

const (
	bootTimeout    = 10 * time.Second
	readBufferCap  = 512 << 10 // one for all connections; bounds what one of them gets per turn
	writeBufferCap = 16 << 10  // what gnet keeps of its own for a connection that does not read
)

// probePorts finds out in plain words whether the ports are free: gnet would
// leave the first open if the second is not.
func (n *Node) probePorts() error {
	for _, p := range []struct{ what, addr string }{{"clients", n.cfg.Listen}, {"members", n.cfg.PeerListen}} {
		ln, err := net.Listen("tcp", p.addr)
		if err != nil {
			return listenError(p.addr, p.what, err)
		}
		if err := ln.Close(); err != nil {
			return fmt.Errorf("cannot listen on %s for %s: %w", p.addr, p.what, err)
		}
	}
	return nil
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

// listenNames returns the two addresses in a spelling that gnet can tell apart
// even if both are the same with port 0.
func (n *Node) listenNames() (client, peer string) {
	host, port, _ := net.SplitHostPort(n.cfg.PeerListen)
	if n.cfg.PeerListen == n.cfg.Listen {
		port = "0" + port
	}
	return n.cfg.Listen, net.JoinHostPort(host, port)
}

// runLoop starts gnet and waits until its loop can be addressed: it has no
// handle before a first connection, so that one is made.
func (n *Node) runLoop(ctx context.Context) error {
	client, peer := n.listenNames()
	failed := make(chan error, 1)
	go func() {
		defer close(n.loopDone)
		failed <- gnet.Rotate(n.loop, []string{"tcp://" + client, "tcp://" + peer},
			gnet.WithNumEventLoop(1), gnet.WithReuseAddr(true), gnet.WithReusePort(false),
			gnet.WithReadBufferCap(readBufferCap), gnet.WithWriteBufferCap(writeBufferCap),
			gnet.WithLogger(gnetLog{n.log})) // no keep-alive here: it hides why listening failed
	}()
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	select {
	case <-n.loop.listening:
	case err := <-failed:
		return fmt.Errorf("cannot listen: %w", errors.Join(n.bootErr, err))
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", dialable(n.clientAddr))
	if err == nil {
		select {
		case <-n.loop.booted:
		case <-ctx.Done():
			err = ctx.Err()
		case <-n.loopDone:
			err = <-failed
		}
		_ = c.Close()
	}
	if err != nil {
		n.stopLoop()
		return fmt.Errorf("cannot reach the event loop: %w", err)
	}
	return nil
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

// learnPorts asks the kernel which ports the listeners got.
func (n *Node) learnPorts(eng gnet.Engine) error {
	client, peer := n.listenNames()
	var err error
	if n.clientAddr, _, err = boundAddr(eng, client); err != nil {
		return err
	}
	n.peerAddr, n.loop.peerPort, err = boundAddr(eng, peer)
	return err
}

func boundAddr(eng gnet.Engine, addr string) (string, int, error) {
	fd, err := eng.DupListener("tcp", addr)
	if err != nil {
		return "", 0, fmt.Errorf("cannot find the listener on %s: %w", addr, err)
	}
	sa, err := unix.Getsockname(fd)
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		return "", 0, fmt.Errorf("cannot read the port of %s: %w", addr, err)
	}
	port := portOf(sa)
	host, _, _ := net.SplitHostPort(addr)
	return net.JoinHostPort(host, strconv.Itoa(port)), port, nil
}

// sideOf tells by which listener a socket came in. gnet only knows the address
// that was asked for, which may have had port 0.
func (l *loop) sideOf(fd int) (wire.Side, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	if portOf(sa) == l.peerPort {
		return wire.PeerSide, nil
	}
	return wire.ClientSide, nil
}

func portOf(sa unix.Sockaddr) int {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return sa.Port
	case *unix.SockaddrInet6:
		return sa.Port
	default:
		return 0
	}
}
