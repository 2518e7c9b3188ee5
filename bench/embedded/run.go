package embedded

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/dnode-engine/dnode/client/load"
)

const (
	// Nodes is how many nodes a cluster has.
	Nodes = 3
	// aroundLimit is what start and end may take together.
	aroundLimit = time.Minute
	// operationLimit bounds one operation of dnode's client.
	operationLimit = 10 * time.Second
)

// Main carries out the order on the standard input. It does not return.
func Main(start Start) {
	out := os.Stdout
	os.Stdout = os.Stderr // whatever a library prints is no answer
	if err := serve(start, os.Stdin, out); err != nil {
		Fatal(err)
	}
	select {} // until the input ends: who gave the order still looks at this process
}

// Fatal ends the program: a node that cannot go on must not be measured.
func Fatal(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func serve(start Start, in io.Reader, out io.Writer) error {
	r := bufio.NewReader(in)
	line, err := r.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("cannot read the order: %w", err)
	}
	var o Order
	if err := json.Unmarshal(line, &o); err != nil {
		return fmt.Errorf("cannot read the order: %w", err)
	}
	go func() { // whoever gave the order is gone
		_, _ = io.Copy(io.Discard, r)
		os.Exit(1)
	}()
	answers := json.NewEncoder(out)
	res, err := Run(context.Background(), start, o, func() { _ = answers.Encode(Answer{Measuring: true}) })
	if err != nil {
		return err
	}
	return answers.Encode(Answer{Result: res})
}

// Run starts the nodes, puts the load on them and stops them. measuring is
// called when the warm-up is over.
func Run(ctx context.Context, start Start, o Order, measuring func()) (*Result, error) {
	ctx, cancel := context.WithTimeout(ctx, o.WarmUp+o.Duration+aroundLimit)
	defer cancel()
	dirs := make([]string, Nodes)
	for i := range dirs {
		dirs[i] = filepath.Join(o.Dir, fmt.Sprintf("n%d", i+1))
		if err := os.MkdirAll(dirs[i], 0o755); err != nil {
			return nil, fmt.Errorf("cannot make a data folder: %w", err)
		}
	}
	e, err := start(ctx, dirs)
	if err != nil {
		return nil, err
	}
	defer e.Stop()
	leader := e.Leader()
	var mu sync.Mutex
	var before spent
	res, err := load.Run(ctx, load.Config{
		Op: load.Put, Endpoints: e.Endpoints, Open: e.Open, Clients: o.Clients, KeySize: o.KeySize, ValueSize: o.ValueSize, Keys: o.Keys,
		Total: o.Total, Duration: o.Duration, WarmUp: o.WarmUp, Seed: o.Seed, Timeout: operationLimit,
		Measuring: func() {
			measuring()
			mu.Lock()
			defer mu.Unlock()
			before = spentNow()
		},
	})
	after := spentNow()
	if err != nil {
		return nil, err
	}
	if res.Ops == 0 {
		return nil, fmt.Errorf("not one entry was committed: %d errors: %v", res.Errors, res.Codes())
	}
	mu.Lock()
	defer mu.Unlock()
	r := &Result{
		What: e.What, Load: res, Histogram: &res.Histogram, CPU: after.cpu - before.cpu,
		Allocs: after.allocs - before.allocs, AllocBytes: after.bytes - before.bytes,
	}
	if e.Leader() != leader {
		r.Elections = 1
	}
	return r, nil
}

// spent is what this process has used since it began.
type spent struct {
	cpu    time.Duration
	allocs uint64
	bytes  uint64
}

func spentNow() spent {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return spent{CPU(), m.Mallocs, m.TotalAlloc}
}

// CPU is the CPU time of this process, user and system.
func CPU() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
