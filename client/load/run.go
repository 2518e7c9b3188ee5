package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dnode-engine/dnode/client"
)

// Operation is one place in flight: it is used for one operation after the
// other, by one connection.
type Operation struct {
	Op    Op
	Key   string
	Value []byte // Put
	Limit int    // Scan: so many keys, from Key on

	lane  *lane
	begun int64 // when it was begun, or was due (open loop), since run.base
	index int   // of the key
	onPut func(client.Revision, error)
	onGet func(client.Item, error)
	again func() // begins the next operation, after a pause
}

// lane is one connection with what was measured on it.
type lane struct {
	run  *run
	conn Conn

	mu      sync.Mutex
	random  *rand.Rand
	hist    Histogram
	puts    *Histogram // Mix: the two parts of hist
	gets    *Histogram
	errors  int64
	unknown int64
	byCode  map[string]int64
	first   int64 // begin of the first measured operation, -1: none
	last    int64 // end of the last one
	flown   int64 // time that the ones in hist were in flight before the load ran dry
}

// run is a load run; it goes through one or two stages.
type run struct {
	cfg    Config
	base   time.Time
	lanes  []*lane
	places []*Operation
	keys   string // all keys, one behind the other
	values []byte // random bytes; each value is a window into them
	stage  *stage
}

// stage is one pass: the keys are filled in, then the load runs.
type stage struct {
	name        string
	op          Op
	total       int64 // measured operations, zero: until endAt
	endAt       int64 // since run.base; zero: never
	measureFrom int64
	sequential  bool
	fill        bool // every operation must succeed and is repeated until it does
	interval    float64
	free        chan *Operation // open loop: the places that are free

	issued   atomic.Int64
	next     atomic.Int64 // sequential: the next key
	failures atomic.Int64 // fill
	stopped  atomic.Bool
	dry      atomic.Int64 // when there was first nothing left to begin, zero: not yet
	left     atomic.Int64 // places that are still in use
	done     chan struct{}
}

const (
	errorPause      = time.Millisecond // before a place is used again after an error
	maxFillFailures = 10_000
	maxCodes        = 32
	maxKeyBytes     = 1 << 30 // of all keys together
	valueWindow     = 64 << 10
)

// keyDigits returns how many digits number n keys.
func keyDigits(n int) int { return len(fmt.Sprint(max(n-1, 0))) }

// Run runs a load and returns what it measured. A failing operation does not
// end a run; the error is about the run itself: a configuration that makes no
// sense, connections that cannot be opened, keys that cannot be filled in. If
// ctx ends, Run waits for the operations in flight and returns what was
// measured so far with the context's error.
func Run(ctx context.Context, cfg Config) (Result, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return Result{}, err
	}
	if cfg.Keys*cfg.KeySize > maxKeyBytes {
		return Result{}, fmt.Errorf("cannot run load: keys of %d bytes in all, at most %d are allowed", cfg.Keys*cfg.KeySize, maxKeyBytes)
	}
	r := newRun(cfg)
	defer r.close()
	if err := r.open(ctx); err != nil {
		return Result{}, err
	}
	if cfg.Op != Put && !cfg.Filled {
		if err := r.fill(ctx); err != nil {
			return Result{}, err
		}
	}
	err = r.measure(ctx)
	return r.result(), err
}

func newRun(cfg Config) *run {
	r := &run{cfg: cfg, base: time.Now()}
	var keys strings.Builder
	keys.Grow(cfg.Keys * cfg.KeySize)
	for i := range cfg.Keys {
		fmt.Fprintf(&keys, "%0*d", cfg.KeySize, i)
	}
	r.keys = keys.String()
	r.values = make([]byte, cfg.ValueSize+valueWindow)
	random := rand.NewChaCha8([32]byte{byte(cfg.Seed), byte(cfg.Seed >> 8)})
	_, _ = random.Read(r.values)
	return r
}

// open opens the connections, a few at a time, and makes the places.
func (r *run) open(ctx context.Context) error {
	r.lanes = make([]*lane, r.cfg.Conns)
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	turns := make(chan struct{}, 16)
	for i := range r.lanes {
		l := &lane{run: r, random: rand.New(rand.NewPCG(r.cfg.Seed, uint64(i)))}
		l.reset()
		r.lanes[i] = l
		wg.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			if failed.Load() != nil {
				return
			}
			conn, err := r.cfg.Open(ctx, i)
			if err != nil {
				failed.CompareAndSwap(nil, &err)
				return
			}
			l.conn = conn
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return fmt.Errorf("cannot run load: %w", *err)
	}
	r.places = make([]*Operation, r.cfg.Clients)
	for i := range r.places {
		o := &Operation{lane: r.lanes[i%len(r.lanes)]}
		o.onPut = func(_ client.Revision, err error) { o.Done(err) }
		o.onGet = func(_ client.Item, err error) { o.Done(err) }
		o.again = func() { o.begin(r.now()) }
		r.places[i] = o
	}
	return nil
}

func (r *run) close() {
	var wg sync.WaitGroup
	for _, l := range r.lanes {
		if l.conn != nil {
			wg.Go(func() { _ = l.conn.Close() })
		}
	}
	wg.Wait()
}

func (r *run) now() int64 { return int64(time.Since(r.base)) }

// fill writes every key once.
func (r *run) fill(ctx context.Context) error {
	st := &stage{name: "fill", op: Put, total: int64(r.cfg.Keys), sequential: true, fill: true}
	if err := r.pass(ctx, st); err != nil {
		return err
	}
	if n := st.failures.Load(); n > maxFillFailures {
		res := r.result()
		return fmt.Errorf("cannot run load: writing the keys to read failed %d times: %s", n, strings.Join(res.Codes(), ", "))
	}
	for _, l := range r.lanes {
		l.reset()
	}
	return nil
}

func (r *run) measure(ctx context.Context) error {
	from := r.now() + int64(r.cfg.WarmUp)
	st := &stage{
		name: "measure", op: r.cfg.Op, total: r.cfg.Total, measureFrom: from,
		sequential: r.cfg.Sequential,
	}
	if r.cfg.Duration > 0 {
		st.endAt = from + int64(r.cfg.Duration)
	}
	if r.cfg.Rate > 0 {
		st.interval = float64(time.Second) / r.cfg.Rate
		st.free = make(chan *Operation, len(r.places))
	}
	if r.cfg.Measuring != nil {
		defer time.AfterFunc(r.cfg.WarmUp, r.cfg.Measuring).Stop()
	}
	return r.pass(ctx, st)
}

// pass runs one stage until all places have come to rest.
func (r *run) pass(ctx context.Context, st *stage) error {
	st.done = make(chan struct{})
	st.left.Store(int64(len(r.places)))
	r.stage = st
	halt := context.AfterFunc(ctx, func() { st.stopped.Store(true) })
	defer halt()
	stopProgress := r.progress(st)
	defer stopProgress()
	now := r.now()
	for _, o := range r.places {
		if st.free != nil {
			st.free <- o
		} else {
			o.begin(now)
		}
	}
	if st.free != nil {
		r.pace(ctx, st)
	}
	<-st.done
	return ctx.Err()
}

// pace begins the operations of an open loop when they are due. If no place is
// free they wait for one, and fall due all the same.
func (r *run) pace(ctx context.Context, st *stage) {
	start := r.now()
	for i := 0; ; i++ {
		due := start + int64(float64(i)*st.interval)
		if wait := due - r.now(); wait > 0 {
			select {
			case <-time.After(time.Duration(wait)):
			case <-ctx.Done():
			}
		}
		o := <-st.free
		if !o.begin(due) {
			break
		}
	}
	for st.left.Load() > 0 { // the one that began nothing has gone home
		(<-st.free).retire()
	}
}

// begin starts the next operation of a place, begun or due at now, and reports
// false if there is none: then the place has come to rest.
func (o *Operation) begin(now int64) bool {
	if !o.lane.run.stage.take(now) {
		o.rest()
		return false
	}
	o.lane.mu.Lock()
	o.choose(now)
	o.lane.mu.Unlock()
	o.start()
	return true
}

// rest ends the use of a place for which there is nothing left to begin.
func (o *Operation) rest() {
	o.lane.run.stage.dry.CompareAndSwap(0, o.lane.run.now())
	o.retire()
}

// take claims one operation of what is left of the stage.
func (st *stage) take(now int64) bool {
	switch {
	case st.stopped.Load() || st.endAt > 0 && now >= st.endAt:
		return false
	case st.total > 0 && now >= st.measureFrom:
		return st.issued.Add(1) <= st.total
	default:
		return true
	}
}

// choose draws key and value. The lane's lock is held.
func (o *Operation) choose(now int64) {
	l, r := o.lane, o.lane.run
	o.Op, o.begun = r.stage.op, now
	keys := r.cfg.Keys
	if o.Op == Scan {
		o.Limit = r.cfg.ScanKeys
		keys -= o.Limit - 1
	}
	if o.Op == Mix {
		o.Op = Get
		if l.random.Float64() < r.cfg.PutShare {
			o.Op = Put
		}
	}
	if r.stage.sequential {
		o.index = int((r.stage.next.Add(1) - 1) % int64(keys))
	} else {
		o.index = l.random.IntN(keys)
	}
	o.Key = r.keys[o.index*r.cfg.KeySize : (o.index+1)*r.cfg.KeySize]
	if o.Op == Put {
		window := l.random.IntN(valueWindow)
		o.Value = r.values[window : window+r.cfg.ValueSize]
	}
}

// start hands the operation to the connection.
func (o *Operation) start() {
	if err := o.lane.conn.Start(o); err != nil {
		o.ended(err)
	}
}

// Done ends the operation that was started last, and begins the next. A Conn
// calls it.
func (o *Operation) Done(err error) { o.ended(err) }

func (o *Operation) ended(err error) {
	l, st := o.lane, o.lane.run.stage
	now := l.run.now()
	more := err == nil && st.free == nil && st.take(now)
	l.mu.Lock()
	if o.begun >= st.measureFrom {
		o.record(now, err)
	}
	if more {
		o.choose(now)
	}
	l.mu.Unlock()
	switch {
	case more:
		o.start()
	case err != nil && st.fill:
		if st.failures.Add(1) > maxFillFailures {
			st.stopped.Store(true)
		}
		if st.stopped.Load() {
			o.retire()
			return
		}
		time.AfterFunc(errorPause, o.start)
	case st.free != nil:
		st.free <- o
	case err != nil:
		time.AfterFunc(errorPause, o.again)
	default:
		o.rest()
	}
}

// retire puts a place to rest.
func (o *Operation) retire() {
	st := o.lane.run.stage
	if st.left.Add(-1) == 0 {
		close(st.done)
	}
}

func (l *lane) reset() {
	l.hist = Histogram{}
	if l.run.cfg.Op == Mix {
		l.puts, l.gets = new(Histogram), new(Histogram)
	}
	l.errors, l.unknown, l.byCode = 0, 0, map[string]int64{}
	l.first, l.last, l.flown = -1, 0, 0
}

// record counts an operation that ended. The lane's lock is held.
func (o *Operation) record(ended int64, err error) {
	l, begun := o.lane, o.begun
	if l.first < 0 || begun < l.first {
		l.first = begun
	}
	l.last = max(l.last, ended)
	if err == nil {
		l.hist.Record(time.Duration(ended - begun))
		if part := l.part(o.Op); part != nil {
			part.Record(time.Duration(ended - begun))
		}
		l.flown += ended - begun
		if dry := l.run.stage.dry.Load(); dry != 0 {
			l.flown -= max(0, ended-max(begun, dry))
		}
		return
	}
	l.errors++
	if client.OutcomeUnknown(err) {
		l.unknown++
	}
	code := codeOf(err)
	if _, known := l.byCode[code]; !known && len(l.byCode) >= maxCodes {
		code = "other"
	}
	l.byCode[code]++
}

// part is where a mix counts its operations of one kind besides.
func (l *lane) part(op Op) *Histogram {
	if op == Put {
		return l.puts
	}
	return l.gets
}

// result adds up what the lanes have measured.
func (r *run) result() Result {
	cfg := &r.cfg
	res := Result{
		Op: cfg.Op, Conns: cfg.Conns, Clients: cfg.Clients, KeySize: cfg.KeySize, ValueSize: cfg.ValueSize,
		Keys: cfg.Keys, Rate: cfg.Rate, ErrorsByCode: map[string]int64{},
	}
	if cfg.Op == Mix {
		res.Puts, res.Gets = new(Histogram), new(Histogram)
	}
	first, last, flown := int64(-1), int64(0), int64(0)
	for _, l := range r.lanes {
		l.mu.Lock()
		res.Histogram.Merge(&l.hist)
		if res.Puts != nil {
			res.Puts.Merge(l.puts)
			res.Gets.Merge(l.gets)
		}
		res.Errors += l.errors
		res.Unknown += l.unknown
		for code, n := range l.byCode {
			res.ErrorsByCode[code] += n
		}
		if l.first >= 0 && (first < 0 || l.first < first) {
			first = l.first
		}
		last = max(last, l.last)
		flown += l.flown
		l.mu.Unlock()
	}
	h := &res.Histogram
	res.Ops = int64(h.Count())
	if first >= 0 {
		res.Seconds = float64(last-first) / 1e9
	}
	if res.Seconds > 0 {
		res.OpsPerSec = float64(res.Ops) / res.Seconds
	}
	us := func(d time.Duration) float64 { return float64(d) / 1e3 }
	res.AvgUs, res.MaxUs = us(h.Mean()), us(h.Max())
	res.P50Us, res.P90Us = us(h.Quantile(0.5)), us(h.Quantile(0.9))
	res.P99Us, res.P999Us = us(h.Quantile(0.99)), us(h.Quantile(0.999))
	if dry := r.stage.dry.Load(); first >= 0 && dry > first {
		res.InFlight = float64(flown) / float64(dry-first)
	}
	return res
}

// progress starts to report on a stage and returns what ends that.
func (r *run) progress(st *stage) (stop func()) {
	if r.cfg.Progress == nil {
		return func() {}
	}
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(r.cfg.ProgressEvery)
		defer tick.Stop()
		begin, before, at := r.now(), int64(0), r.now()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			now := r.now()
			p := Progress{Phase: st.name, Elapsed: time.Duration(now - max(begin, st.measureFrom))}
			if now < st.measureFrom {
				p.Phase, p.Elapsed = "warm-up", time.Duration(now-begin)
			}
			for _, l := range r.lanes {
				l.mu.Lock()
				p.Ops += int64(l.hist.Count())
				p.Errors += l.errors
				l.mu.Unlock()
			}
			p.OpsPerSec = float64(p.Ops-before) / (float64(now-at) / 1e9)
			before, at = p.Ops, now
			r.cfg.Progress(p)
		}
	}()
	return sync.OnceFunc(func() { close(quit); <-ended })
}

// Codes returns the kinds of errors in a result, most frequent first.
func (res *Result) Codes() []string {
	codes := make([]string, 0, len(res.ErrorsByCode))
	for code := range res.ErrorsByCode {
		codes = append(codes, code)
	}
	slices.SortFunc(codes, func(a, b string) int {
		if d := res.ErrorsByCode[b] - res.ErrorsByCode[a]; d != 0 {
			return int(min(max(d, -1), 1))
		}
		return strings.Compare(a, b)
	})
	return codes
}
