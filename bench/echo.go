package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"github.com/panjf2000/gnet/v2"
)

// echoMain answers messages of one length with messages of another, through
// gnet at one address and with plain blocking calls at another, until its input
// ends. The lengths come on its input, the addresses go to its output.
func echoMain(in io.Reader, out io.Writer) error {
	var request, reply int
	if _, err := fmt.Fscan(in, &request, &reply); err != nil || request < 1 || reply < 1 {
		return fmt.Errorf("cannot read the lengths: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	defer l.Close()
	go acceptPlain(l, request, reply)
	addrs, err := freeAddrs(1)
	if err != nil {
		return err
	}
	e := &echo{request: request, reply: make([]byte, reply), ready: make(chan struct{})}
	ended := make(chan error, 1)
	go func() {
		ended <- gnet.Run(e, "tcp://"+addrs[0], gnet.WithTCPNoDelay(gnet.TCPNoDelay), gnet.WithLogger(silent{}))
	}()
	select {
	case err := <-ended:
		return fmt.Errorf("cannot run gnet: %w", err)
	case <-e.ready:
	}
	fmt.Fprintln(out, l.Addr(), addrs[0])
	_, _ = io.Copy(io.Discard, in) // until whoever started us is gone
	return e.engine.Stop(context.Background())
}

// echo is the gnet server. It runs on one loop.
type echo struct {
	gnet.BuiltinEventEngine
	engine  gnet.Engine
	request int
	reply   []byte
	out     []byte
	once    sync.Once
	ready   chan struct{}
}

// OnBoot implements gnet.EventHandler.
func (e *echo) OnBoot(engine gnet.Engine) gnet.Action {
	e.engine = engine
	e.once.Do(func() { close(e.ready) })
	return gnet.None
}

// OnTraffic answers all whole messages that have come, with one write.
func (e *echo) OnTraffic(c gnet.Conn) gnet.Action {
	n := c.InboundBuffered() / e.request
	if n == 0 {
		return gnet.None
	}
	if _, err := c.Discard(n * e.request); err != nil {
		return gnet.Close
	}
	for e.out = e.out[:0]; n > 0; n-- {
		e.out = append(e.out, e.reply...)
	}
	if _, err := c.Write(e.out); err != nil {
		return gnet.Close
	}
	return gnet.None
}

// acceptPlain answers with blocking calls, one goroutine per connection.
func acceptPlain(l net.Listener, request, reply int) {
	for {
		c, err := l.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				fmt.Fprintln(os.Stderr, "echo:", err)
			}
			return
		}
		go func() {
			defer c.Close()
			ask, answer := make([]byte, request), make([]byte, reply)
			for {
				if _, err := io.ReadFull(c, ask); err != nil {
					return
				}
				if _, err := c.Write(answer); err != nil {
					return
				}
			}
		}()
	}
}

// silent keeps gnet from writing to the output, where the addresses go.
type silent struct{}

func (silent) Debugf(string, ...any) {}
func (silent) Infof(string, ...any)  {}
func (silent) Warnf(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(string, ...any) {}
