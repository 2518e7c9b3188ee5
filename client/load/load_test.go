package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dnode-engine/dnode/client"
	"github.com/dnode-engine/dnode/wire"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a store whose operations take a fixed time, any number at once.
type fake struct {
	mu       sync.Mutex
	service  time.Duration
	keys     map[string]int
	inFlight int
	most     int
	conns    int
	fail     func(n int) error // of the n-th operation
	hold     func() time.Duration
	started  int
	slowPut  time.Duration // that a put takes longer
	onScan   func(o *Operation)
}

type fakeConn struct{ f *fake }

func (f *fake) open(context.Context, int) (Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns++
	return &fakeConn{f}, nil
}

func (k *fakeConn) Close() error { return nil }

func (k *fakeConn) Start(o *Operation) error {
	f := k.f
	f.mu.Lock()
	defer f.mu.Unlock()
	f.started++
	f.inFlight++
	f.most = max(f.most, f.inFlight)
	var err error
	if f.fail != nil {
		err = f.fail(f.started)
	}
	if o.Op == Put && err == nil {
		f.keys[o.Key]++
	}
	if o.Op == Scan && f.onScan != nil {
		f.onScan(o)
	}
	if o.Op == Get && f.keys[o.Key] == 0 {
		err = client.ErrNotFound
	}
	service := f.service
	if o.Op == Put {
		service += f.slowPut
	}
	if f.hold != nil {
		service += f.hold()
	}
	time.AfterFunc(service, func() {
		f.mu.Lock()
		f.inFlight--
		f.mu.Unlock()
		o.Done(err)
	})
	return nil
}

func newFake() *fake { return &fake{service: time.Millisecond, keys: map[string]int{}} }

func near(got, want, part float64) bool { return math.Abs(got-want) <= part*want }

// A closed loop keeps exactly Clients operations in flight, and says so.
func TestClosedLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		res, err := Run(t.Context(), Config{
			Op: Put, Conns: 4, Clients: 10, Duration: 10 * time.Second, WarmUp: time.Second, Open: f.open,
		})
		if err != nil {
			t.Fatal(err)
		}
		if f.most != 10 || f.conns != 4 {
			t.Errorf("%d in flight over %d connections, want 10 over 4", f.most, f.conns)
		}
		if !near(res.OpsPerSec, 10_000, 0.01) || !near(res.InFlight, 10, 0.01) || !near(res.Seconds, 10, 0.01) {
			t.Errorf("%+v", res)
		}
		for _, us := range []float64{res.AvgUs, res.P50Us, res.P90Us, res.P99Us, res.P999Us, res.MaxUs} {
			if !near(us, 1000, 0.01) {
				t.Errorf("a latency of %v µs, want 1000", us)
			}
		}
		if int(res.Ops) >= f.started || res.Errors != 0 {
			t.Errorf("%d operations measured of %d, %d errors", res.Ops, f.started, res.Errors)
		}
	})
}

// The end of the warm-up is said when it comes.
func TestMeasuring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		begin := time.Now()
		var at time.Duration
		_, err := Run(t.Context(), Config{
			Op: Put, Duration: time.Second, WarmUp: 300 * time.Millisecond, Open: f.open, Measuring: func() { at = time.Since(begin) },
		})
		if err != nil || at != 300*time.Millisecond {
			t.Errorf("said after %v, %v", at, err)
		}
	})
}

// One operation that takes long does not make the load look thin: nothing was
// left to begin while it was waited for.
func TestStraggler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.hold = func() time.Duration {
			if f.started == 995 {
				return time.Second
			}
			return 0
		}
		res, err := Run(t.Context(), Config{Op: Put, Clients: 10, Total: 1000, Open: f.open})
		if err != nil || !near(res.InFlight, 10, 0.01) || !near(res.Seconds, 1.1, 0.01) {
			t.Errorf("%+v, %v", res, err)
		}
	})
}

func TestTotal(t *testing.T) {
	f := func(clients int, total int64) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			res, err := Run(t.Context(), Config{Op: Put, Clients: clients, Total: total, Keys: 50, Sequential: true, Open: f.open})
			if err != nil || res.Ops != total || int64(f.started) != total {
				t.Errorf("%d clients: %d operations of %d, %d begun, %v", clients, res.Ops, total, f.started, err)
			}
			for key, n := range f.keys { // in turn: no key is ahead of another by more than one
				if least := int(total) / 50; n < least || n > least+1 || fmt.Sprintf("%08s", key) != key {
					t.Errorf("key %s was written %d times of %d", key, n, total)
				}
			}
		})
	}
	f(1, 1)
	f(7, 100)
	f(100, 7)
	f(1000, 5000)
}

// Gets find every key written, though a part of the writes fails at first.
func TestFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.fail = func(n int) error {
			if n%10 == 0 && n < 1000 {
				return errors.New("not now")
			}
			return nil
		}
		var phases []string
		res, err := Run(t.Context(), Config{
			Op: Get, Clients: 20, Total: 2000, Keys: 5000, Open: f.open,
			ProgressEvery: 10 * time.Millisecond, Progress: func(p Progress) { phases = append(phases, p.Phase) },
		})
		if err != nil || res.Errors != 0 || res.Ops != 2000 || len(f.keys) != 5000 {
			t.Errorf("%+v, %v, %d keys", res, err, len(f.keys))
		}
		if len(phases) < 10 || phases[0] != "fill" || phases[len(phases)-1] != "measure" {
			t.Errorf("progress %v", phases)
		}
	})
}

func TestFillGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.fail = func(int) error { return errors.New("never") }
		_, err := Run(t.Context(), Config{Op: Get, Clients: 10, Total: 10, Open: f.open})
		if err == nil || !strings.Contains(err.Error(), "never") {
			t.Errorf("got %v", err)
		}
	})
}

// Errors are counted by kind, unknown outcomes apart, and not as latencies.
func TestErrorsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.fail = func(n int) error {
			switch {
			case n%10 == 0:
				return &client.Error{Op: "put", Class: client.ClassUnknown}
			case n%5 == 0:
				return &client.Error{Op: "put", Class: client.ClassBusy, Code: wire.CodeBusy}
			default:
				return nil
			}
		}
		res, err := Run(t.Context(), Config{Op: Put, Clients: 3, Total: 1000, Open: f.open})
		if err != nil {
			t.Fatal(err)
		}
		if res.Ops != 800 || res.Errors != 200 || res.Unknown != 100 || res.Histogram.Count() != 800 {
			t.Errorf("%+v", res)
		}
		if res.ErrorsByCode["outcome unknown"] != 100 || res.ErrorsByCode["busy"] != 100 || len(res.Codes()) != 2 {
			t.Errorf("%v", res.ErrorsByCode)
		}
	})
}

// A stall of one second shows in the latencies of an open loop: all that was
// due meanwhile waited, also what had no place in flight.
func TestOpenLoopSeesStall(t *testing.T) {
	f := func(clients int) {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			begin := time.Now()
			f.hold = func() time.Duration { // nothing ends between seconds 2 and 3
				at := time.Since(begin)
				if at < 2*time.Second || at > 3*time.Second {
					return 0
				}
				return 3*time.Second - at
			}
			res, err := Run(t.Context(), Config{Op: Put, Clients: clients, Duration: 10 * time.Second, Rate: 1000, Open: f.open})
			if err != nil || !near(float64(res.Ops), 10_000, 0.01) {
				t.Fatalf("%+v, %v", res, err)
			}
			// A tenth of all operations waited, half a second on average.
			if !near(res.MaxUs, 1e6, 0.02) || res.P99Us < 8e5 || res.AvgUs < 4e4 || res.P50Us > 2000 {
				t.Errorf("%d clients: avg %v, p50 %v, p99 %v, max %v µs", clients, res.AvgUs, res.P50Us, res.P99Us, res.MaxUs)
			}
		})
	}
	f(2000)
	f(50)
}

// A mix does both in the share asked for and tells their latencies apart.
func TestMix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.slowPut = 3 * time.Millisecond
		res, err := Run(t.Context(), Config{Op: Mix, PutShare: 0.3, Clients: 10, Total: 10_000, Keys: 100, Open: f.open})
		if err != nil || res.Errors != 0 || res.Histogram.Count() != 10_000 {
			t.Fatalf("%+v, %v", res, err)
		}
		if puts, gets := res.Puts.Count(), res.Gets.Count(); puts+gets != 10_000 || !near(float64(puts), 3000, 0.1) {
			t.Errorf("%d puts and %d gets", puts, gets)
		}
		if !near(float64(res.Gets.Max()), 1e6, 0.01) || !near(float64(res.Puts.Quantile(0.01)), 4e6, 0.01) {
			t.Errorf("gets took up to %v, puts from %v", res.Gets.Max(), res.Puts.Quantile(0.01))
		}
	})
}

// Keys that are said to be there are not written again.
func TestFilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		res, err := Run(t.Context(), Config{Op: Get, Filled: true, Total: 100, Open: f.open})
		if err != nil || res.Errors != 100 || len(f.keys) != 0 {
			t.Errorf("%+v, %v, %d keys", res, err, len(f.keys))
		}
	})
}

// A scan begins where all its keys are ahead.
func TestScanBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		seen := map[string]int{}
		f.onScan = func(o *Operation) { seen[fmt.Sprint(o.Key, " ", o.Limit)]++ }
		_, err := Run(t.Context(), Config{Op: Scan, Keys: 12, ScanKeys: 10, KeySize: 2, Total: 300, Open: f.open})
		if err != nil || len(seen) != 3 || seen["00 10"] == 0 || seen["02 10"] == 0 {
			t.Errorf("%v, %v", seen, err)
		}
	})
}

// A run that is cut short returns what it has measured.
func TestCancelled(t *testing.T) {
	f := func(rate float64) {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			res, err := Run(ctx, Config{Op: Put, Clients: 2, Duration: time.Hour, Rate: rate, Open: f.open})
			if !errors.Is(err, context.DeadlineExceeded) || res.Ops < 90 || res.Seconds > 1.1 {
				t.Errorf("%+v, %v", res, err)
			}
		})
	}
	f(0)
	f(100)
}

func TestConfig(t *testing.T) {
	f := func(cfg Config, want string) {
		t.Helper()
		if _, err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", cfg, err, want)
		}
	}
	f(Config{}, "not put, get, mix or scan")
	f(Config{Op: Put, Conns: 2, Clients: 1}, "at least as many clients")
	f(Config{Op: Put, KeySize: 3}, "at least 4 bytes")
	f(Config{Op: Put, Rate: -1}, "rate")
	f(Config{Op: Put, Keys: 1 << 28}, "at least 9 bytes")
	f(Config{Op: Put, Keys: 1 << 28, KeySize: 9}, "bytes in all")
	f(Config{Op: Put, Duration: -1}, "duration")
	f(Config{Op: Mix, PutShare: 1.1}, "share of puts 1.1")
	f(Config{Op: Scan, Keys: 10, ScanKeys: 11}, "a scan of 11 keys of 10")
	f(Config{Op: Put}, "no endpoints")
}

// The names in the JSON are an interface for scripts.
func TestResultJSON(t *testing.T) {
	b, err := json.Marshal(Result{Op: Put, ErrorsByCode: map[string]int64{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"op", "ops_per_s", "avg_us", "p50_us", "p90_us", "p99_us", "p999_us", "max_us", "ops", "errors", "unknown", "seconds",
		"in_flight", "errors_by_code", "conns", "clients", "key_size", "val_size", "keys", "rate",
	} {
		if !bytes.Contains(b, []byte(`"`+name+`":`)) {
			t.Errorf("%s is not in %s", name, b)
		}
	}
}
