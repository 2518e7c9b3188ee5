package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/dnode-engine/dnode/wire"
)

// Client is a connection to a cluster. It is safe for concurrent use, and made
// to be shared: the more callers, the fuller each network write.
//
// All of its state, connections included, is guarded by one lock that is never
// held during I/O. Nearly all traffic goes to one node, the leader, so a lock
// per connection would be contended just the same.
type Client struct {
	cfg    Config
	start  time.Time
	life   context.Context // ends with Close
	end    context.CancelFunc
	opened chan struct{} // closed when a node has answered hello for the first time
	vain   chan struct{} // closed when every endpoint has refused for good before one answered

	running sync.WaitGroup // goroutines of the connections
	pool    sync.Pool      // of *call

	mu      sync.Mutex
	closed  bool
	cluster wire.ClusterID
	nodes   map[string]*node
	ring    []*node // the configured endpoints, in order
	any     int     // ring position that stale reads go to
	members []*node // learned from the last status

	leader     *node     // nil: not known
	leaderTerm wire.Term // in which it said so, or was said to be
	parked     callList  // calls that wait for a leader
	probeTimer *time.Timer
	probeArmed bool
	probeRound int

	active     callList // every call that has not ended
	pending    int      // of them, those that a caller has made
	heldBytes  int      // the requests of those
	finished   callList // ended, to be told when the lock is given back
	closing    []net.Conn
	eager      *conn // has something to be written by who gives the lock back
	clock      int64 // now, when a batch of answers came or a sweep ran
	sweepTimer *time.Timer
	sweepArmed bool
}

// Open starts a client and waits until one node has answered. It fails with
// ErrUnavailable when none does before ctx ends (or Config.Timeout, if ctx has
// no deadline), and at once when every endpoint has refused in a way that will
// not change; the last reason is in the text. Close the client to free its
// connections.
func Open(ctx context.Context, cfg Config) (*Client, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c := newClient(cfg)
	wait, cancel := ctx, context.CancelFunc(func() {})
	if _, has := ctx.Deadline(); !has {
		wait, cancel = context.WithTimeout(ctx, cfg.Timeout)
	}
	defer cancel()
	c.mu.Lock()
	c.seekLeader()
	c.unlock()
	select {
	case <-c.opened:
		return c, nil
	case <-c.vain:
	case <-wait.Done():
	}
	c.mu.Lock()
	cause := c.troubles()
	c.mu.Unlock()
	if wait.Err() != nil {
		cause = withLast(wait.Err(), cause)
	}
	c.Close()
	return nil, &Error{Op: "open client", Class: ClassUnavailable, Err: cause}
}

func newClient(cfg Config) *Client {
	c := &Client{
		cfg: cfg, start: time.Now(), opened: make(chan struct{}), vain: make(chan struct{}),
		nodes:    make(map[string]*node),
		parked:   callList{which: placeLinks},
		active:   callList{which: activeLinks},
		finished: callList{which: placeLinks},
	}
	c.life, c.end = context.WithCancel(context.Background())
	c.pool.New = func() any { return &call{ready: make(chan struct{}, 1)} }
	for _, addr := range cfg.Endpoints {
		n := c.nodeAt(addr)
		if !c.inRing(n) {
			c.ring = append(c.ring, n)
		}
	}
	return c
}

// Close ends every call that is under way — a write that was sent with
// ErrOutcomeUnknown, all others with ErrClosed —, closes the connections and
// waits for their goroutines. Later calls fail with ErrClosed. It must not be
// called from a completion function. It may be called more than once.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	for q := c.active.first; q != nil; q = c.active.first {
		c.giveUp(q, ErrClosed)
	}
	for _, n := range c.nodes {
		if n.conn != nil {
			c.lost(n.conn, ErrClosed)
		}
	}
	for _, t := range []*time.Timer{c.probeTimer, c.sweepTimer} {
		if t != nil {
			t.Stop()
		}
	}
	c.end()
	c.unlock()
	c.running.Wait()
	return nil
}

// now returns nanoseconds since the client was made, on a monotonic clock.
func (c *Client) now() int64 { return int64(time.Since(c.start)) }

// recently is now, or while completions run when the clock was last read: when
// the answers came, or at the last sweep. So it is not read for each call that a
// completion begins.
func (c *Client) recently() int64 {
	if n := c.leader; n != nil && n.conn != nil && n.conn.corked {
		return c.clock
	}
	return c.now()
}

// unlock gives the lock back, then tells the callers whose calls have ended
// and closes connections. Before that it writes what must not wait for the
// writer. Whoever sends or ends a call must unlock this way.
//
// What has ended is taken before anything is written: the lock is free then, and
// answers stay valid only as long as the reader that brings them is here.
func (c *Client) unlock() {
	q, closing, k := c.finished.take(), c.closing, c.eager
	c.closing, c.eager = nil, nil
	if k != nil {
		k.flush()
		c.unlock() // what a failed write has ended
	} else {
		c.mu.Unlock()
	}
	for _, nc := range closing {
		nc.Close()
	}
	for q != nil {
		next := q.at.next
		c.tell(q)
		q = next
	}
}

// tell wakes the caller that waits for a call, or runs its completion.
func (c *Client) tell(q *call) {
	q.at = links{}
	switch {
	case q.sync:
		q.kept = append(q.kept[:0], q.reply...) // the reader's buffer is reused
		q.reply = q.kept
		q.ready <- struct{}{}
		return
	case q.onStatus != nil:
		q.onStatus(q.reply, q.err)
	case q.onWrite != nil:
		q.onWrite(q.writeResult())
	case q.onItem != nil:
		q.onItem(q.itemResult())
	}
	c.release(q)
}

func (c *Client) newCall(op string, frame wire.FrameType) *call {
	q := c.pool.Get().(*call)
	q.op, q.frame = op, frame
	return q
}

// release returns a call whose end has been told to the pool. One that had to
// wait is left to the garbage collector: its timer may be about to look at it.
func (c *Client) release(q *call) {
	if q.timer == nil {
		q.reset()
		c.pool.Put(q)
	}
}

// begin starts a call. It fails only if the call cannot be accepted, and has
// not taken it then.
func (c *Client) begin(ctx context.Context, q *call) error {
	if err := ctx.Err(); err != nil {
		return &Error{Op: q.op, Class: ClassUnavailable, Err: err}
	}
	d, has := ctx.Deadline()
	if has {
		q.deadline = c.now() + int64(time.Until(d))
	}
	c.mu.Lock()
	if !has {
		q.deadline = c.recently() + int64(c.cfg.Timeout)
	}
	if c.closed {
		c.mu.Unlock()
		return &Error{Op: q.op, Class: ClassClosed}
	}
	if c.pending >= c.cfg.MaxPending || c.heldBytes+len(q.body) > maxHeldBytes {
		c.mu.Unlock()
		return &Error{Op: q.op, Class: ClassBusy, Err: errTooManyPending}
	}
	c.pending++
	c.heldBytes += len(q.body)
	c.active.push(q)
	c.armSweep()
	c.dispatch(q)
	if k := c.eager; k != nil {
		c.eager = nil
		k.flush()
	}
	if c.finished.len > 0 {
		// It ended at once. A completion never runs inside the call that
		// announces it: whoever unlocks next tells it.
		time.AfterFunc(0, func() { c.mu.Lock(); c.unlock() })
		c.mu.Unlock()
		return nil
	}
	c.unlock()
	return nil
}

// maxHeldBytes bounds the requests of all pending calls together.
const maxHeldBytes = 256 << 20

var errTooManyPending = errors.New("too many calls, or too large ones, are pending in this client; wait until some have ended, or see Config.MaxPending")

// do runs a call and waits for its end. The caller releases it.
func (c *Client) do(ctx context.Context, q *call) error {
	q.sync = true
	if err := c.begin(ctx, q); err != nil {
		return err
	}
	done := ctx.Done()
	if done == nil {
		<-q.ready
		return q.err
	}
	select {
	case <-q.ready:
	case <-done:
		c.mu.Lock()
		if q.phase != phaseDone {
			c.giveUp(q, ctx.Err())
		}
		c.unlock()
		<-q.ready
	}
	return q.err
}

// dispatch sends a call on its way to the node that may answer it.
func (c *Client) dispatch(q *call) {
	switch {
	case q.target == toEndpoint:
		c.ask(c.nodeAt(q.endpoint), q)
	case q.target == toAny:
		c.ask(c.anyNode(), q)
	case c.leader != nil:
		c.ask(c.leader, q)
	default:
		q.phase = phaseParked
		c.parked.push(q)
		c.seekLeader()
	}
}

// failure is why an attempt did not succeed.
type failure struct {
	stage      Stage
	code       wire.Code
	leader     string
	retryAfter time.Duration
	err        error
}

// refused reports whether the node that was asked will refuse again.
func (f *failure) refused() bool {
	return f.code == wire.CodeNotLeader || f.stage == StageNotSent && lasting(f.err)
}

// failed decides what becomes of a call whose attempt did not succeed. The
// call is in no list and no slot when failed is called.
func (c *Client) failed(q *call, f failure) {
	hint := f.code == wire.CodeNotLeader && c.usable(f.leader, q.node)
	a := Attempt{
		Write: q.write(), Maybe: q.maybe, Stage: f.stage, Code: f.code,
		Hint: hint && q.target == toLeader, Hops: q.hops, Attempts: q.attempts, RetryAfter: f.retryAfter,
		Left: time.Duration(q.deadline - c.now()), Final: c.closed || q.once || q.target == toEndpoint && f.refused(),
	}
	d := Decide(a)
	q.maybe, q.hops = d.Maybe, d.Hops
	q.cause, q.code = f.err, f.code
	switch d.Action {
	case RetryNow:
		c.dispatch(q)
	case RetryLeader:
		c.follow(q.node, c.nodeAt(f.leader))
		c.dispatch(q)
	case RetryWait:
		c.later(q, d)
	case RetryAway:
		c.notLeader(q.node)
		c.passOver(q.node)
		c.later(q, d)
	default:
		c.finish(q, nil, c.report(q, d.Class, f.err))
	}
}

// report builds the error of a call that ends.
func (c *Client) report(q *call, class Class, cause error) error {
	e := &Error{Op: q.op, Class: class, Code: q.code, Attempts: q.attempts, Err: cause}
	if q.node != nil {
		e.Endpoint = q.node.addr
	}
	return e
}

// finish ends a call; it is told when the lock is given back.
func (c *Client) finish(q *call, reply []byte, err error) {
	if q.phase == phaseDone {
		panic(fmt.Sprintf("BUG: %s ends twice", q.op))
	}
	q.phase = phaseDone
	q.reply, q.err = reply, err
	c.active.remove(q)
	if !q.once {
		c.pending--
		c.heldBytes -= len(q.body)
	}
	c.finished.push(q)
}

// giveUp ends a call whose caller does not wait any longer. If the request is
// on its way, its slot and credits stay taken until the node answers.
func (c *Client) giveUp(q *call, why error) {
	stage, last := StageNotSent, q.cause
	switch q.phase {
	case phaseParked:
		if now := c.troubles(); now != nil {
			last = now
		}
		c.parked.remove(q)
	case phaseQueued:
		q.node.queue.remove(q)
	case phaseSent:
		k := q.node.conn
		if s := &k.slots[q.slot]; !c.closed || s.end <= k.taken {
			stage = StageSent // or will be
		}
		if now := q.node.troubled(); now != nil {
			last = now
		}
		k.slots[q.slot].call = nil
	case phaseBackoff:
		q.timer.Stop()
	}
	if last == nil && stage == StageNotSent && q.target != toEndpoint {
		last = c.troubles()
	}
	d := Decide(Attempt{
		Write: q.write(), Maybe: q.maybe, Stage: stage, Attempts: max(q.attempts, 1), Final: true,
	})
	class := d.Class
	switch {
	case class == ClassUnavailable && why == ErrClosed:
		class = ClassClosed
		why = nil
	case class == ClassUnavailable && q.code == wire.CodeBusy:
		class = ClassBusy
	}
	c.finish(q, nil, c.report(q, class, withLast(why, last)))
}

// withLast joins the reason for giving up with the last failure before it.
func withLast(why, last error) error {
	if last == nil || why == nil {
		return why
	}
	if errors.Is(why, context.DeadlineExceeded) {
		return &timeOver{why, last}
	}
	return fmt.Errorf("%w; before that: %w", why, last)
}

// timeOver is a deadline with what kept a call waiting until then.
type timeOver struct{ deadline, last error }

func (e *timeOver) Error() string   { return "not in time: " + e.last.Error() }
func (e *timeOver) Unwrap() []error { return []error{e.deadline, e.last} }

// maxTroubles bounds how many nodes a message speaks of.
const maxTroubles = 5

// troubles says why no node could be asked: what is wrong with each that the
// caller has named, in that order, or with the others if nothing is.
func (c *Client) troubles() error {
	var all []error
	for _, list := range [][]*node{c.ring, c.members} {
		for _, n := range list {
			if err := n.troubled(); err != nil && len(all) < maxTroubles {
				all = append(all, fmt.Errorf("%s: %w", n.addr, err))
			}
		}
		if all != nil {
			break
		}
	}
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return severalErrors(all)
}

// severalErrors is as errors.Join, in one line.
type severalErrors []error

func (e severalErrors) Error() string {
	var text strings.Builder
	text.WriteString(e[0].Error())
	for _, err := range e[1:] {
		text.WriteString("; " + err.Error())
	}
	return text.String()
}

func (e severalErrors) Unwrap() []error { return e }

// later dispatches a call again after the wait that was decided.
func (c *Client) later(q *call, d Decision) {
	q.phase = phaseBackoff
	wait := d.AtLeast + jitter(d.Backoff)
	if q.timer == nil {
		q.timer = time.AfterFunc(wait, func() { c.resume(q) })
		return
	}
	q.timer.Reset(wait)
}

// resume is what the timer of a call runs. The call may have ended meanwhile;
// one whose time is over is not sent any more.
func (c *Client) resume(q *call) {
	c.mu.Lock()
	if q.phase == phaseBackoff {
		if err := q.over(c.now()); err != nil {
			c.giveUp(q, err)
		} else {
			c.dispatch(q)
		}
	}
	c.unlock()
}
