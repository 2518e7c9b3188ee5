package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/dnode-engine/dnode/client/load"
	"github.com/dnode-engine/dnode/wire"
)

// floors are what the machine itself can do, in one round.
type floors struct {
	Round     int     `json:"round"`
	SyncBytes int     `json:"sync_bytes"`
	Sync      latency `json:"sync"`       // one writer on a zero-filled file
	Sync3     latency `json:"sync_three"` // three at once
	TCP       latency `json:"tcp_round_trip"`
	Gnet      latency `json:"gnet_round_trip"`
	// Echo is replies a second through gnet over one connection with 1000 in
	// flight, of dnode's frames for a get: framing and checksums, no store.
	Echo       float64 `json:"gnet_echo_per_s"`
	EchoBytes  int     `json:"echo_request_bytes"`
	ReplyBytes int     `json:"echo_reply_bytes"`
}

// latency is a short form of a histogram, in microseconds.
type latency struct {
	Count  uint64  `json:"count"`
	P50Us  float64 `json:"p50_us"`
	P99Us  float64 `json:"p99_us"`
	P999Us float64 `json:"p999_us"`
	MaxUs  float64 `json:"max_us"`
}

func latencyOf(h *load.Histogram) latency {
	us := func(d time.Duration) float64 { return float64(d) / 1e3 }
	return latency{h.Count(), us(h.Quantile(0.5)), us(h.Quantile(0.99)), us(h.Quantile(0.999)), us(h.Max())}
}

const (
	floorFileBytes = 16 << 20
	// syncOverhead is what a log adds to key and value of one entry, roughly.
	syncOverhead = 64
	echoInFlight = 1000
)

// measureFloors measures all floors, each for d.
func (r *runner) measureFloors(ctx context.Context, round int, d time.Duration) (floors, error) {
	l := r.opt.load
	f := floors{Round: round, SyncBytes: l.keySize + l.valueSize + syncOverhead}
	fr := newFrames(l.keySize, l.valueSize)
	f.EchoBytes, f.ReplyBytes = fr.requestSize(), fr.replySize()
	for _, s := range []struct {
		writers int
		to      *latency
	}{{1, &f.Sync}, {3, &f.Sync3}} {
		h, err := r.syncFloor(ctx, s.writers, f.SyncBytes, d)
		if err != nil {
			return f, err
		}
		*s.to = latencyOf(h)
	}
	server, err := r.startEcho(ctx)
	if err != nil {
		return f, err
	}
	defer server.stop()
	for _, t := range []struct {
		addr string
		to   *latency
	}{{server.tcp, &f.TCP}, {server.gnet, &f.Gnet}} {
		h, err := roundTrips(ctx, t.addr, fr, d)
		if err != nil {
			return f, err
		}
		*t.to = latencyOf(h)
	}
	f.Echo, err = pipelined(ctx, server.gnet, fr, d)
	return f, err
}

// syncFloor has writers append to files full of zeros and sync after each
// write, all at the same time.
func (r *runner) syncFloor(ctx context.Context, writers, size int, d time.Duration) (*load.Histogram, error) {
	files := make([]*os.File, writers)
	for i := range files {
		name := filepath.Join(r.data, fmt.Sprintf("floor%d", i))
		defer os.Remove(name)
		f, err := zeroFile(name)
		if err != nil {
			return nil, fmt.Errorf("cannot measure syncs: %w", err)
		}
		defer f.Close()
		files[i] = f
	}
	var wg sync.WaitGroup
	parts, errs := make([]load.Histogram, writers), make([]error, writers)
	end := time.Now().Add(d)
	for i, f := range files {
		wg.Go(func() {
			block := bytes.Repeat([]byte{1}, size)
			for off := int64(0); errs[i] == nil && time.Now().Before(end) && ctx.Err() == nil; off += int64(size) {
				if off+int64(size) > floorFileBytes {
					off = 0
				}
				begin := time.Now()
				if _, errs[i] = f.WriteAt(block, off); errs[i] == nil {
					errs[i] = syncFile(f)
				}
				parts[i].Record(time.Since(begin))
			}
		})
	}
	wg.Wait()
	var all load.Histogram
	for i := range parts {
		all.Merge(&parts[i])
	}
	if err := errors.Join(append(errs, ctx.Err())...); err != nil {
		return nil, fmt.Errorf("cannot measure syncs: %w", err)
	}
	return &all, nil
}

// zeroFile makes a file full of zeros.
func zeroFile(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	zeros := make([]byte, 64<<10)
	for n := 0; n < floorFileBytes && err == nil; n += len(zeros) {
		_, err = f.Write(zeros)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// echoServer is the process that answers.
type echoServer struct {
	tcp, gnet string // addresses
	stop      func()
}

// startEcho starts the process that answers.
func (r *runner) startEcho(ctx context.Context) (*echoServer, error) {
	cmd := exec.Command(r.self, echoCommand)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("cannot start the echo: %w", err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("cannot start the echo: %w", err)
	}
	defer reader.Close()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = writer, &said
	p := &process{name: "echo", cmd: cmd}
	err = r.group.run(p)
	writer.Close()
	if err != nil {
		return nil, err
	}
	s := &echoServer{stop: func() { in.Close(); r.group.stop(p) }}
	defer context.AfterFunc(ctx, s.stop)()
	_, err = fmt.Fprintf(in, "%d %d\n", r.opt.load.keySize, r.opt.load.valueSize)
	if err == nil {
		_, err = fmt.Fscan(reader, &s.tcp, &s.gnet)
	}
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("cannot start the echo: %w: %s", err, strings.TrimSpace(said.String()))
	}
	return s, nil
}

// dialEcho connects to an echo for d and a little more.
func dialEcho(ctx context.Context, addr string, d time.Duration) (net.Conn, error) {
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot reach the echo: %w", err)
	}
	if err := c.SetDeadline(time.Now().Add(d + operationLimit)); err != nil {
		return nil, fmt.Errorf("cannot reach the echo: %w", err)
	}
	return c, nil
}

// roundTrips sends one message after the other, each when the one before it is
// answered.
func roundTrips(ctx context.Context, addr string, f frames, d time.Duration) (*load.Histogram, error) {
	c, err := dialEcho(ctx, addr, d)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var h load.Histogram
	ask, answer := f.appendRequest(nil, 1), make([]byte, f.replySize())
	for end := time.Now().Add(d); time.Now().Before(end) && ctx.Err() == nil; {
		begin := time.Now()
		if _, err := c.Write(ask); err != nil {
			return nil, fmt.Errorf("cannot measure round trips: %w", err)
		}
		if _, err := io.ReadFull(c, answer); err != nil {
			return nil, fmt.Errorf("cannot measure round trips: %w", err)
		}
		h.Record(time.Since(begin))
	}
	return &h, ctx.Err()
}

// pipelined keeps echoInFlight frames in flight over one connection, each reply
// checked and followed by a request with an id of its own; what one read has
// brought is sent with one write. It returns the rate.
func pipelined(ctx context.Context, addr string, f frames, d time.Duration) (float64, error) {
	c, err := dialEcho(ctx, addr, d)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	var out []byte
	id := uint64(0)
	for ; id < echoInFlight; id++ {
		out = f.appendRequest(out, id)
	}
	in, have := make([]byte, 256<<10), 0
	answered, begin := 0, time.Now()
	for end := begin.Add(d); time.Now().Before(end) && ctx.Err() == nil; {
		if _, err := c.Write(out); err != nil {
			return 0, fmt.Errorf("cannot measure the echo: %w", err)
		}
		n, err := c.Read(in[have:])
		if err != nil {
			return 0, fmt.Errorf("cannot measure the echo: %w", err)
		}
		have += n
		taken := 0
		out = out[:0]
		for {
			reply, err := wire.ParseFrame(in[taken:have], wire.MaxFrameBytes)
			if errors.Is(err, wire.ErrShortFrame) {
				break
			}
			if err != nil {
				return 0, fmt.Errorf("cannot measure the echo: %w", err)
			}
			taken += reply.Size
			answered++
			out = f.appendRequest(out, id)
			id++
		}
		have = copy(in, in[taken:have])
	}
	return float64(answered) / seconds(time.Since(begin)), ctx.Err()
}
