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

	"github.com/dnode-engine/dnode/bench/embedded"
	"github.com/dnode-engine/dnode/wire"
)

// echoMain answers dnode's frames of a get with frames of a reply, until its
// input ends: through gnet at one address, each frame checked and answered with
// its own id and checksum but nothing looked up; and with plain blocking calls,
// by length only, at another. The sizes of key and value come on its input, the
// addresses go to its output.
func echoMain(in io.Reader, out io.Writer) error {
	var keySize, valueSize int
	if _, err := fmt.Fscan(in, &keySize, &valueSize); err != nil || keySize < 1 || valueSize < 1 {
		return fmt.Errorf("cannot read the sizes: %w", err)
	}
	f := newFrames(keySize, valueSize)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	defer l.Close()
	go acceptPlain(l, f)
	addrs, err := embedded.FreeAddrs(1)
	if err != nil {
		return err
	}
	e := &echo{frames: f, ready: make(chan struct{})}
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
	engine gnet.Engine
	frames frames
	out    []byte
	once   sync.Once
	ready  chan struct{}
}

// OnBoot implements gnet.EventHandler.
func (e *echo) OnBoot(engine gnet.Engine) gnet.Action {
	e.engine = engine
	e.once.Do(func() { close(e.ready) })
	return gnet.None
}

// OnTraffic answers all whole frames that have come, with one write.
func (e *echo) OnTraffic(c gnet.Conn) gnet.Action {
	in, err := c.Peek(-1)
	if err != nil {
		return gnet.Close
	}
	taken := 0
	e.out = e.out[:0]
	for {
		f, err := wire.ParseFrame(in[taken:], wire.MaxFrameBytes)
		if errors.Is(err, wire.ErrShortFrame) {
			break
		}
		if err != nil {
			return gnet.Close
		}
		taken += f.Size
		e.out = e.frames.appendReply(e.out, f.ID)
	}
	if taken == 0 {
		return gnet.None
	}
	if _, err := c.Discard(taken); err != nil {
		return gnet.Close
	}
	if _, err := c.Write(e.out); err != nil {
		return gnet.Close
	}
	return gnet.None
}

// frames are the two frames of a get.
type frames struct {
	request []byte // bodies
	reply   []byte
}

// newFrames makes the bodies for keys and values of a size.
func newFrames(keySize, valueSize int) frames {
	key, value := make([]byte, keySize), make([]byte, valueSize)
	reply := append(wire.AppendReplyHeader(nil, 1), byte(wire.StatusOK))
	return frames{
		request: wire.AppendRead(nil, wire.Linearizable, wire.AppendGet(nil, key)),
		reply:   wire.AppendItem(reply, wire.Item{ModRevision: 1, Version: 1, Key: key, Value: value}),
	}
}

func (f *frames) requestSize() int { return wire.FrameHeaderBytes + len(f.request) }
func (f *frames) replySize() int   { return wire.FrameHeaderBytes + len(f.reply) }

func (f *frames) appendRequest(dst []byte, id uint64) []byte {
	return wire.AppendFrame(dst, wire.FrameRead, id, f.request)
}

func (f *frames) appendReply(dst []byte, id uint64) []byte {
	return wire.AppendFrame(dst, wire.FrameReadReply, id, f.reply)
}

// acceptPlain answers with blocking calls, one goroutine per connection.
func acceptPlain(l net.Listener, f frames) {
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
			ask, answer := make([]byte, f.requestSize()), make([]byte, f.replySize())
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
