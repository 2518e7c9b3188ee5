//go:build !race

package client

import (
	"context"
	"net"
	"testing"

	"github.com/dnode-engine/dnode/wire"
)

// echoNode answers every request over real TCP with as little work and without
// allocating, so that what is measured is the client.
func echoNode(t testing.TB) Config {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go echo(nc)
		}
	}()
	return Config{Endpoints: []string{l.Addr().String()}}
}

func echo(nc net.Conn) {
	defer nc.Close()
	in, from := make([]byte, 0, 1<<20), 0
	out := make([]byte, 0, 1<<20)
	put := append(wire.AppendReplyHeader(nil, 7), 0)
	get := wire.AppendItem(append(wire.AppendReplyHeader(nil, 7), 0), wire.Item{Key: []byte("key00001"), Value: make([]byte, 256), ModRevision: 7})
	for {
		if from == len(in) {
			in, from = in[:0], 0
		} else if len(in) == cap(in) {
			in = in[:copy(in, in[from:])]
			from = 0
		}
		n, err := nc.Read(in[len(in):cap(in)])
		if err != nil {
			return
		}
		in = in[:len(in)+n]
		out = out[:0]
		for {
			f, err := wire.ParseFrame(in[from:], wire.MaxFrameBytes)
			if err != nil {
				break
			}
			from += f.Size
			switch f.Type {
			case wire.FrameHello:
				ack := wire.HelloAck{Version: 1, MaxFrame: wire.MaxFrameBytes, Requests: wire.MaxConnRequests, Bytes: wire.MaxConnBytes}
				out = wire.AppendFrame(out, wire.FrameHelloAck, 0, wire.AppendHelloAck(nil, &ack))
			case wire.FrameStatus:
				out = append(out, leaderStatus(f)...)
			case wire.FrameWrite:
				out = wire.AppendFrame(out, wire.FrameWriteReply, f.ID, put)
			case wire.FrameRead:
				out = wire.AppendFrame(out, wire.FrameReadReply, f.ID, get)
			}
		}
		if _, err := nc.Write(out); err != nil {
			return
		}
	}
}

func openEcho(t testing.TB) *Client {
	c, err := Open(context.Background(), echoNode(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// A put costs nothing, a get the value it returns.
func TestAllocations(t *testing.T) {
	c := openEcho(t)
	value := make([]byte, 256)
	f := func(name string, want float64, do func(ctx context.Context) error) {
		t.Helper()
		f := func(kind string, ctx context.Context) {
			t.Helper()
			got := testing.AllocsPerRun(2000, func() {
				if err := do(ctx); err != nil {
					t.Fatal(err)
				}
			})
			if got > want {
				t.Errorf("%s, %s: %v allocations, want %v", name, kind, got, want)
			}
		}
		f("background", context.Background())
		f("cancellable", t.Context())
	}
	f("put", 0, func(ctx context.Context) error {
		_, err := c.Put(ctx, "key00001", value)
		return err
	})
	f("get", 1, func(ctx context.Context) error {
		_, err := c.Get(ctx, "key00001")
		return err
	})
	f("lease get", 1, func(ctx context.Context) error {
		_, err := c.Get(ctx, "key00001", ReadOptions{Consistency: Lease})
		return err
	})
	ended := make(chan error, 1)
	done := func(_ Revision, err error) { ended <- err }
	f("async put", 0, func(ctx context.Context) error {
		if err := c.PutAsync(ctx, "key00001", value, done); err != nil {
			return err
		}
		return <-ended
	})
	doneItem := func(_ Item, err error) { ended <- err }
	f("async get", 0, func(ctx context.Context) error {
		if err := c.GetAsync(ctx, "key00001", ReadOptions{}, doneItem); err != nil {
			return err
		}
		return <-ended
	})
}

func BenchmarkPut(b *testing.B) {
	value := make([]byte, 256)
	b.Run("1 caller", func(b *testing.B) {
		c := openEcho(b)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Put(context.Background(), "key00001", value); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("256 callers", func(b *testing.B) {
		c := openEcho(b)
		b.ReportAllocs()
		b.SetParallelism(128)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := c.Put(context.Background(), "key00001", value); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
	b.Run("async 256 in flight", func(b *testing.B) {
		c := openEcho(b)
		b.ReportAllocs()
		tokens := make(chan error, 256)
		for range cap(tokens) {
			tokens <- nil
		}
		done := func(_ Revision, err error) { tokens <- err }
		for b.Loop() {
			if err := <-tokens; err != nil {
				b.Fatal(err)
			}
			if err := c.PutAsync(context.Background(), "key00001", value, done); err != nil {
				b.Fatal(err)
			}
		}
		for range cap(tokens) {
			<-tokens
		}
	})
}

func BenchmarkGet(b *testing.B) {
	c := openEcho(b)
	b.ReportAllocs()
	b.SetParallelism(128)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Get(context.Background(), "key00001"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
