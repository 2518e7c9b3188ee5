package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dnode-engine/dnode/client"
	"github.com/dnode-engine/dnode/wire"
)

const (
	loadKeys    = 4
	loadClients = 10 // goroutines over three clients
	directReads = 2  // goroutines that ask one node by its name
	burst       = 12 // operations without a pause
	maxPause    = 500 * time.Millisecond
	opTimeout   = 3 * time.Second
	directWait  = 700 * time.Millisecond
)

// recordedLoad is clients that collide on a handful of keys, and what became
// of their operations.
type recordedLoad struct {
	began   time.Time
	stop    context.CancelFunc
	running sync.WaitGroup
	clients []*client.Client

	// target is the node that direct reads ask: linearizable ones, which it may
	// only answer while it leads.
	target atomic.Pointer[string]
	counts struct{ ended, writes atomic.Int64 } // not failed; acknowledged

	// still is locked to keep the clients from writes for a while.
	still sync.RWMutex

	mu      sync.Mutex
	history []operation
	wrong   []error // what a client must never say
}

// startLoad lets clients loose on a cluster.
func startLoad(endpoints []string, seed uint64) (*recordedLoad, error) {
	ctx, cancel := context.WithCancel(context.Background())
	l := &recordedLoad{began: time.Now(), stop: cancel}
	l.target.Store(&endpoints[0])
	for i := range 4 {
		cfg := client.Config{Endpoints: append(endpoints[i%3:len(endpoints):len(endpoints)], endpoints[:i%3]...)}
		if i == 3 { // for direct reads: what is in a stopped node's socket is to stay there
			cfg.ProbeInterval = time.Minute
		}
		c, err := client.Open(ctx, cfg)
		if err != nil {
			l.end()
			return nil, err
		}
		l.clients = append(l.clients, c)
	}
	for i := range loadClients {
		w := &loadClient{
			load: l, id: i, c: l.clients[i%3], random: rand.New(rand.NewPCG(seed, uint64(i))), seen: make(map[string]content),
		}
		l.running.Go(func() { w.run(ctx) })
	}
	for i := range directReads {
		w := &loadClient{load: l, id: loadClients + i, c: l.clients[3], random: rand.New(rand.NewPCG(seed, uint64(100+i)))}
		l.running.Go(func() { w.readDirectly(ctx) })
	}
	return l, nil
}

// end stops the clients and waits for them. It may be called twice.
func (l *recordedLoad) end() {
	l.stop()
	l.running.Wait()
	for _, c := range l.clients {
		c.Close()
	}
}

func (l *recordedLoad) now() int64 { return int64(time.Since(l.began)) }

// loadClient is one goroutine with one operation in flight.
type loadClient struct {
	load   *recordedLoad
	id     int
	c      *client.Client
	random *rand.Rand
	number int                // of its writes
	seen   map[string]content // as it last saw the keys
}

func (w *loadClient) run(ctx context.Context) {
	for ctx.Err() == nil {
		for range burst {
			w.load.still.RLock()
			w.one(ctx)
			w.load.still.RUnlock()
		}
		rest(ctx, time.Duration(w.random.Int64N(int64(maxPause))))
	}
}

// readDirectly reads from one node, again and again, so that a node that was
// stopped finds reads in its socket when it goes on.
func (w *loadClient) readDirectly(ctx context.Context) {
	for ctx.Err() == nil {
		w.get(ctx, client.ReadOptions{Endpoint: *w.load.target.Load()}, directWait)
		rest(ctx, 20*time.Millisecond)
	}
}

// rest waits, or not to the end if ctx ends.
func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (w *loadClient) one(ctx context.Context) {
	switch n := w.random.IntN(100); {
	case n < 35:
		w.get(ctx, client.ReadOptions{}, opTimeout)
	case n < 55:
		s := w.step(wire.OpPut)
		w.write(ctx, s, func(ctx context.Context) (client.Revision, wire.Status, error) {
			rev, err := w.c.Put(ctx, s.key, []byte(s.value))
			return rev, wire.StatusOK, err
		})
	case n < 64:
		s := step{key: w.key(), op: wire.OpDelete}
		w.write(ctx, s, func(ctx context.Context) (client.Revision, wire.Status, error) {
			rev, existed, err := w.c.Delete(ctx, s.key)
			if existed {
				return rev, wire.StatusOK, err
			}
			return rev, wire.StatusNotFound, err
		})
	case n < 86:
		s := w.step(wire.OpCAS)
		w.write(ctx, s, func(ctx context.Context) (client.Revision, wire.Status, error) {
			rev, err := w.c.CompareAndSet(ctx, s.key, w.condition(s), []byte(s.value))
			return rev, wire.StatusOK, err
		})
	case n < 94:
		w.batch(ctx)
	default:
		w.scan(ctx)
	}
}

func (w *loadClient) key() string { return fmt.Sprint(keyPrefix, w.random.IntN(loadKeys)) }

// step makes a put or a compare-and-set of a new value.
func (w *loadClient) step(op wire.Op) step {
	w.number++
	s := step{key: w.key(), op: op, value: fmt.Sprintf("%d.%d", w.id, w.number)}
	if op != wire.OpCAS {
		return s
	}
	s.mode = wire.CASMode(1 + w.random.IntN(3))
	switch have := w.seen[s.key]; s.mode {
	case wire.CASValue:
		s.expect = have.value
	case wire.CASRevision:
		s.expect = revisionText(have.mod)
	}
	return s
}

func (w *loadClient) condition(s step) client.Condition {
	switch s.mode {
	case wire.CASAbsent:
		return client.Absent()
	case wire.CASValue:
		return client.ValueIs([]byte(s.expect))
	default:
		return client.RevisionIs(w.seen[s.key].mod)
	}
}

// write carries out a write of one step.
func (w *loadClient) write(ctx context.Context, s step, do func(context.Context) (client.Revision, wire.Status, error)) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	o := operation{client: w.id, call: w.load.now(), steps: []step{s}}
	rev, status, err := do(ctx)
	o.ret, o.rev = w.load.now(), rev
	r := result{status: status}
	if refused := (*client.ConditionError)(nil); errors.As(err, &refused) {
		o.rev, r.status = refused.Revision, wire.StatusConditionFailed
		if refused.Exists {
			r.it = contentOf(refused.Current)
		}
		w.seen[s.key] = r.it
	} else if err == nil {
		w.seen[s.key] = content{value: s.value, mod: rev}
	}
	o.results = []result{r}
	w.load.add(o, err)
}

func contentOf(it client.Item) content {
	return content{value: string(it.Value), create: it.CreateRevision, mod: it.ModRevision, version: it.Version}
}

func (w *loadClient) batch(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	var b client.Batch
	put := w.step(wire.OpPut)
	steps := []step{put}
	b.Put(put.key, []byte(put.value))
	for range 1 + w.random.IntN(2) {
		s := w.step(wire.OpCAS)
		if w.random.IntN(3) == 0 {
			s = step{key: s.key, op: wire.OpDelete}
		}
		if strings.Contains(fmt.Sprint(steps), s.key) {
			continue // one step for each key
		}
		if steps = append(steps, s); s.op == wire.OpDelete {
			b.Delete(s.key)
		} else {
			b.CompareAndSet(s.key, w.condition(s), []byte(s.value))
		}
	}
	o := operation{client: w.id, call: w.load.now(), steps: steps}
	res, err := w.c.Batch(ctx, &b)
	o.ret, o.rev = w.load.now(), res.Revision
	for _, one := range res.Outcomes {
		o.results = append(o.results, result{status: wire.Status(one - client.Done), bare: true})
	}
	w.load.add(o, err)
}

func (w *loadClient) get(ctx context.Context, opt client.ReadOptions, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s := step{key: w.key()}
	o := operation{client: w.id, call: w.load.now(), steps: []step{s}}
	it, err := w.c.Get(ctx, s.key, opt)
	o.ret = w.load.now()
	r := result{it: contentOf(it)}
	if errors.Is(err, client.ErrNotFound) {
		r = result{status: wire.StatusNotFound}
	}
	if err == nil && w.seen != nil {
		w.seen[s.key] = r.it
	}
	o.results = []result{r}
	w.load.add(o, err)
}

// scan reads all keys at one revision.
func (w *loadClient) scan(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	o := operation{client: w.id, call: w.load.now()}
	page, err := w.c.ScanPage(ctx, client.Range{Prefix: keyPrefix})
	o.ret, o.rev = w.load.now(), page.Revision
	there := make(map[string]content)
	for _, it := range page.Items {
		there[it.Key] = contentOf(it)
	}
	for i := range loadKeys {
		s := step{key: fmt.Sprint(keyPrefix, i)}
		r := result{it: there[s.key]}
		if r.it.mod == 0 {
			r.status = wire.StatusNotFound
		}
		o.steps, o.results = append(o.steps, s), append(o.results, r)
	}
	w.load.add(o, err)
}

// add records how an operation ended.
func (l *recordedLoad) add(o operation, err error) {
	o.outcome = endOf(err)
	if o.outcome != refused {
		l.counts.ended.Add(1)
	}
	if o.outcome == answered && o.write() {
		l.counts.writes.Add(1)
	}
	if o.outcome != answered {
		o.results = nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.history = append(l.history, o)
	if errors.Is(err, client.ErrProtocol) || errors.Is(err, client.ErrRefused) || o.outcome == unknown && !o.write() {
		l.wrong = append(l.wrong, err)
	}
}
