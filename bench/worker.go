package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/dnode-engine/dnode/bench/embedded"
	"github.com/dnode-engine/dnode/client"
	"github.com/dnode-engine/dnode/client/load"
)

// order is what a worker is to do: one line of JSON on its input. The input is
// then held open: when it ends the worker gives up.
type order struct {
	System    string        `json:"system"`
	Endpoints []string      `json:"endpoints"` // the leader's first
	Op        load.Op       `json:"op"`
	Level     string        `json:"level"`
	Conns     int           `json:"conns"`
	Clients   int           `json:"clients"`
	KeySize   int           `json:"key_size"`
	ValueSize int           `json:"val_size"`
	Keys      int           `json:"keys"`
	Total     int64         `json:"total"`
	Duration  time.Duration `json:"duration_ns"`
	WarmUp    time.Duration `json:"warm_up_ns"`
	Rate      float64       `json:"rate"`
	Seed      uint64        `json:"seed"`
	InOrder   bool          `json:"in_order"` // the keys
}

// answer is one line of JSON on a worker's output: that the warm-up is over, or
// what was measured.
type answer struct {
	Measuring bool      `json:"measuring,omitempty"`
	Result    *measured `json:"result,omitempty"`
}

// measured is what a worker has measured.
type measured struct {
	Load      load.Result     `json:"load"`
	Histogram *load.Histogram `json:"histogram"`
	Puts      *load.Histogram `json:"puts,omitempty"` // of a mix
	Gets      *load.Histogram `json:"gets,omitempty"`
	// CPU of the worker, from the end of the warm-up to the end.
	ClientCPU time.Duration `json:"client_cpu_ns"`
}

// workerMain carries out the order that it reads.
func workerMain(in io.Reader, out io.Writer) error {
	r := bufio.NewReader(in)
	line, err := r.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("cannot read the order: %w", err)
	}
	var o order
	if err := json.Unmarshal(line, &o); err != nil {
		return fmt.Errorf("cannot read the order: %w", err)
	}
	go func() { // whoever gave the order is gone
		_, _ = io.Copy(io.Discard, r)
		os.Exit(1)
	}()
	w := &worker{order: o, out: json.NewEncoder(out)}
	return w.run(context.Background())
}

// worker carries out one order.
type worker struct {
	order order

	mu   sync.Mutex
	out  *json.Encoder
	base time.Duration // CPU used when the warm-up ended
}

func (w *worker) run(ctx context.Context) error {
	cfg, err := w.config()
	if err != nil {
		return err
	}
	res, err := load.Run(ctx, cfg)
	if err != nil {
		return err
	}
	if res.Ops == 0 {
		return fmt.Errorf("not one operation succeeded: %d errors: %v", res.Errors, res.Codes())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Encode(answer{Result: &measured{
		Load: res, Histogram: &res.Histogram, Puts: res.Puts, Gets: res.Gets, ClientCPU: embedded.CPU() - w.base,
	}})
}

func (w *worker) config() (load.Config, error) {
	o := &w.order
	cfg := load.Config{
		Op: o.Op, Endpoints: o.Endpoints, Conns: o.Conns, Clients: o.Clients, KeySize: o.KeySize, ValueSize: o.ValueSize,
		Keys: o.Keys, Total: o.Total, Duration: o.Duration, WarmUp: o.WarmUp, Rate: o.Rate, Seed: o.Seed,
		Sequential: o.InOrder, Filled: true, Timeout: operationLimit, Measuring: w.measuring,
	}
	levels := map[string]client.Consistency{linearizable: client.Linearizable, lease: client.Lease, stale: client.Stale}
	var known bool
	if cfg.Consistency, known = levels[o.Level]; !known {
		return cfg, fmt.Errorf("unknown level %q", o.Level)
	}
	if len(o.Endpoints) == 0 {
		return cfg, errors.New("no endpoints")
	}
	if o.System != sysDnode {
		cfg.Open = func(_ context.Context, i int) (load.Conn, error) { return openEtcd(o, i) }
	}
	return cfg, nil
}

// measuring says that the warm-up is over.
func (w *worker) measuring() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.base = embedded.CPU()
	_ = w.out.Encode(answer{Measuring: true}) // whoever reads it is gone otherwise, and so are we soon
}
