package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dnode-engine/dnode/client"
)

// Op is what a run does.
type Op string

// The operations.
const (
	Put  Op = "put"
	Get  Op = "get"
	Mix  Op = "mix"  // puts and gets, by Config.PutShare
	Scan Op = "scan" // Config.ScanKeys keys in order, from a key on
)

// Conn is one connection that operations are started on. The client of this
// module is the default; a harness brings its own to measure another store
// with the same load, clock and histogram.
type Conn interface {
	// Start begins an operation. When it has ended o.Done is called once, from
	// any goroutine, but not from within Start. The fields of o stay unchanged
	// until then. If Start returns an error the operation was not begun and
	// Done must not be called.
	Start(o *Operation) error
	// Close ends the connection. No operation is under way then.
	Close() error
}

// Config describes a run. The zero value of every field but Op and Endpoints
// (or Open) has a default.
type Config struct {
	Op        Op
	Endpoints []string
	Conns     int           // connections, default 1
	Clients   int           // operations in flight, default 1, spread evenly over the connections
	Total     int64         // operations to measure; zero: by Duration
	Duration  time.Duration // how long to measure; default 10 s unless Total is set
	WarmUp    time.Duration // operations begun in it are not measured
	KeySize   int           // bytes, default 8
	ValueSize int           // bytes, default 256
	Keys      int           // different keys, default 10,000
	PutShare  float64       // Mix: the part of operations that are puts, default 0.1
	ScanKeys  int           // Scan: keys of one operation, default 1,000, at most Keys
	// Filled says that the keys are there already. Otherwise a run that reads
	// writes all of them first.
	Filled bool
	// Sequential takes the keys in order instead of at random.
	Sequential bool
	// Consistency is that of reads, by default linearizable. Stale reads are
	// spread over the endpoints, connection by connection.
	Consistency client.Consistency
	// Rate makes the load an open loop of so many operations a second: each has
	// a time at which it is due, and its latency counts from then, also while
	// it waits for one of the Clients places in flight. Zero: a closed loop,
	// each operation begins when the one before it ends.
	Rate    float64
	Seed    uint64        // of keys and values
	Timeout time.Duration // of one operation, default 5 s

	// Progress, if set, is called about every ProgressEvery (default 1 s)
	// while measuring, from one goroutine.
	Progress      func(Progress)
	ProgressEvery time.Duration
	// Measuring, if set, is called when the warm-up is over, from a goroutine
	// of its own: the time to look at what the servers have used so far.
	Measuring func()
	// Open opens the i-th connection; nil: a client of Endpoints.
	Open func(ctx context.Context, i int) (Conn, error)
}

// Progress is what has happened so far.
type Progress struct {
	Phase     string        // "fill", "warm-up" or "measure"
	Elapsed   time.Duration // of the phase
	Ops       int64         // completed in the phase, without errors
	Errors    int64
	OpsPerSec float64 // since the last call
}

// Result is what a run measured. Latencies are of operations that succeeded,
// in microseconds. Operations that failed count in Errors only.
type Result struct {
	Op        Op      `json:"op"`
	OpsPerSec float64 `json:"ops_per_s"`
	AvgUs     float64 `json:"avg_us"`
	P50Us     float64 `json:"p50_us"`
	P90Us     float64 `json:"p90_us"`
	P99Us     float64 `json:"p99_us"`
	P999Us    float64 `json:"p999_us"`
	MaxUs     float64 `json:"max_us"`
	Ops       int64   `json:"ops"`     // that succeeded
	Errors    int64   `json:"errors"`  // that did not, unknown outcomes included
	Unknown   int64   `json:"unknown"` // writes whose outcome is unknown
	Seconds   float64 `json:"seconds"` // from the first measured operation's begin to the last one's end
	// InFlight is how many operations were in flight on average until there was
	// nothing left to begin: the stragglers' time after that does not count. In a
	// closed loop it is Clients, or the generator itself was the bottleneck.
	InFlight     float64          `json:"in_flight"`
	ErrorsByCode map[string]int64 `json:"errors_by_code"`
	Conns        int              `json:"conns"`
	Clients      int              `json:"clients"`
	KeySize      int              `json:"key_size"`
	ValueSize    int              `json:"val_size"`
	Keys         int              `json:"keys"`
	Rate         float64          `json:"rate"` // asked for; zero: closed loop

	Histogram Histogram `json:"-"`
	// Puts and Gets are the two parts of Histogram after a Mix, nil otherwise.
	Puts *Histogram `json:"-"`
	Gets *Histogram `json:"-"`
}

// Limits of a run.
const (
	maxConns   = 10_000
	maxClients = 1_000_000
)

func (cfg Config) withDefaults() (Config, error) {
	setDefault(&cfg.Conns, 1)
	setDefault(&cfg.Clients, 1)
	setDefault(&cfg.KeySize, 8)
	setDefault(&cfg.ValueSize, 256)
	setDefault(&cfg.Keys, 10_000)
	setDefault(&cfg.ScanKeys, min(1000, cfg.Keys))
	if cfg.Op == Mix {
		setDefault(&cfg.PutShare, 0.1)
	}
	setDefault(&cfg.Timeout, 5*time.Second)
	setDefault(&cfg.ProgressEvery, time.Second)
	if cfg.Total == 0 {
		setDefault(&cfg.Duration, 10*time.Second)
	}
	for _, bad := range []struct {
		is   bool
		text string
	}{
		{!slices.Contains([]Op{Put, Get, Mix, Scan}, cfg.Op), fmt.Sprintf("operation %q is not put, get, mix or scan", cfg.Op)},
		{!(cfg.PutShare >= 0 && cfg.PutShare <= 1), fmt.Sprintf("the share of puts %v is not between 0 and 1", cfg.PutShare)},
		{cfg.Conns < 0 || cfg.Conns > maxConns, fmt.Sprintf("%d connections, 1 to %d are allowed", cfg.Conns, maxConns)},
		{cfg.Clients < 0 || cfg.Clients > maxClients, fmt.Sprintf("%d clients, 1 to %d are allowed", cfg.Clients, maxClients)},
		{cfg.Clients > 0 && cfg.Clients < cfg.Conns, fmt.Sprintf(
			"%d clients over %d connections leave some without work; give at least as many clients", cfg.Clients, cfg.Conns)},
		{cfg.KeySize < 0 || cfg.ValueSize < 0 || cfg.Keys < 0 || cfg.Total < 0, "a size or count is negative"},
		{cfg.Duration < 0 || cfg.WarmUp < 0 || cfg.Timeout < 0 || cfg.ProgressEvery < 0, "a duration is negative"},
		{!(cfg.Rate >= 0 && cfg.Rate <= 1e8), fmt.Sprintf("rate %v is not between 0 and 1e8", cfg.Rate)},
		{cfg.KeySize < keyDigits(cfg.Keys), fmt.Sprintf(
			"%d keys need at least %d bytes each, the key size is %d", cfg.Keys, keyDigits(cfg.Keys), cfg.KeySize)},
		{cfg.ScanKeys < 0 || cfg.ScanKeys > max(cfg.Keys, 0), fmt.Sprintf("a scan of %d keys of %d", cfg.ScanKeys, cfg.Keys)},
	} {
		if bad.is {
			return cfg, fmt.Errorf("cannot run load: %s", bad.text)
		}
	}
	if cfg.Open == nil {
		cfg.Open = cfg.openClient
	}
	return cfg, nil
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// openClient opens a client of its own as one connection.
func (cfg Config) openClient(ctx context.Context, i int) (Conn, error) {
	c, err := client.Open(ctx, client.Config{
		Endpoints: cfg.Endpoints, Timeout: cfg.Timeout, Name: fmt.Sprintf("load %d", i),
		MaxPending: cfg.Clients + 1,
	})
	if err != nil {
		return nil, err
	}
	k := &clientConn{c: c, read: client.ReadOptions{Consistency: cfg.Consistency}}
	if cfg.Consistency == client.Stale {
		k.read.Endpoint = cfg.Endpoints[i%len(cfg.Endpoints)]
	}
	return k, nil
}

// clientConn starts operations on a client.
type clientConn struct {
	c    *client.Client
	read client.ReadOptions
}

func (k *clientConn) Start(o *Operation) error {
	switch o.Op {
	case Put:
		return k.c.PutAsync(context.Background(), o.Key, o.Value, o.onPut)
	case Scan:
		go func() { o.Done(k.scan(o)) }()
		return nil
	default:
		return k.c.GetAsync(context.Background(), o.Key, k.read, o.onGet)
	}
}

// scan is an operation that must find all its keys.
func (k *clientConn) scan(o *Operation) error {
	n := 0
	for _, err := range k.c.Scan(context.Background(), client.Range{Start: o.Key, Limit: o.Limit, ReadOptions: k.read}) {
		if err != nil {
			return err
		}
		n++
	}
	if n < o.Limit {
		return client.ErrNotFound
	}
	return nil
}

func (k *clientConn) Close() error { return k.c.Close() }

// codeOf names an error for the table of errors.
func codeOf(err error) string {
	var e *client.Error
	switch {
	case errors.As(err, &e):
		if e.Code != 0 && e.Code.String() != e.Class.String() {
			return e.Class.String() + ": " + e.Code.String()
		}
		return e.Class.String()
	case errors.Is(err, client.ErrNotFound):
		return "not found"
	default:
		return "other: " + err.Error()
	}
}
