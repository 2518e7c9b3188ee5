package sim

import (
	"fmt"
	"time"

	"github.com/dnode-engine/dnode/client"
	"github.com/dnode-engine/dnode/wire"
)

// simClient is a client as the library is one: a connection to each node that it
// asks, several requests in flight, and client.Decide to say what becomes of
// those that do not succeed. Only the search for a leader that nobody names is
// simpler: it asks any node.
type simClient struct {
	index   int
	home    int // the node that is asked: the leader, as far as the client knows
	any     int // the node that stale reads are asked of
	lines   []line
	flights []flight
	seen    []wire.Item // by key, what the last answered get said
	last    uint64      // request id
	turn    uint64
	loyal   bool // asks on where it is not answered
	reader  bool // never writes: a leader that is cut off does not keep it waiting
	lease   bool // and reads at lease level only
	asked   bool // recovery: was answered
}

// line is a client's connection to one node.
type line struct {
	conn     uint64 // zero: none
	calling  bool
	open     bool
	answered bool
	requests int // in flight
	bytes    int
	granted  wire.HelloAck
	heard    int64
	failures int // connections in a row that answered nothing
	retryAt  int64
	late     []request // in flight, and nobody waits for the answer
}

type request struct {
	id   uint64
	size int
}

type stage uint8

const (
	idle    stage = iota
	queued        // waits for the connection or for credits
	sent          // waits for the answer
	waiting       // backs off
)

// flight is one operation that has not ended.
type flight struct {
	phase    stage
	op       int // position in history
	id       uint64
	turn     uint64 // order of those that are queued
	size     int
	node     int // asked last
	attempts int
	hops     int
	maybe    bool
	sentAt   int64
	deadline int64
}

// dispatch puts an operation in line at the node that may answer it.
func (l *load) dispatch(cl *simClient, slot int) {
	f := &cl.flights[slot]
	f.node = cl.home
	if l.history[f.op].Level == wire.Stale {
		f.node = cl.any
	}
	f.attempts++
	f.phase, f.turn = queued, cl.turn
	cl.turn++
	if cl.lines[f.node].open {
		l.admit(cl, f.node)
		return
	}
	l.connect(cl, f.node)
}

func (l *load) connect(cl *simClient, node int) {
	if k := &cl.lines[node]; !k.calling && k.conn == 0 {
		k.calling = true
		l.c.at(max(k.retryAt-l.c.now, 0)+2*l.c.net.delay(), event{kind: evCall, node: node, client: cl.index})
	}
}

// call says hello to a node, or finds nobody there.
func (l *load) call(cl *simClient, node int) {
	k := &cl.lines[node]
	k.calling = false
	if !l.c.nodes[node].up {
		l.setBack(k)
		l.lostFlights(cl, node)
		return
	}
	c := l.c.net.connect(wire.ClientSide, cl.index, node)
	k.conn = c.id
	hello := wire.Hello{Version: wire.Version, MinVersion: wire.MinVersion, Side: wire.ClientSide, Name: "sim"}
	l.c.net.write(c, caller, wire.AppendFrame(nil, wire.FrameHello, 0, wire.AppendHello(nil, &hello)))
}

func (l *load) opened(cl *simClient, node int, ack *wire.HelloAck) {
	k := &cl.lines[node]
	k.open, k.granted, k.heard = true, *ack, l.c.now
	l.admit(cl, node)
}

// admit sends what is in line at a node, as far as its credits reach.
func (l *load) admit(cl *simClient, node int) {
	k := &cl.lines[node]
	for k.open && k.requests < int(k.granted.Requests) {
		next := -1
		for i := range cl.flights {
			f := &cl.flights[i]
			if f.phase == queued && f.node == node && (next < 0 || f.turn < cl.flights[next].turn) {
				next = i
			}
		}
		if next < 0 {
			return
		}
		frame := l.frame(&cl.flights[next])
		if len(frame) > int(k.granted.Bytes)-k.bytes {
			if len(frame) > min(int(k.granted.Bytes), int(k.granted.MaxFrame)) {
				l.c.fail(fmt.Errorf("BUG: a request of %d bytes, the node grants %d", len(frame), k.granted.Bytes))
			}
			return
		}
		f := &cl.flights[next]
		f.phase, f.size, f.sentAt = sent, len(frame), l.c.now
		k.requests++
		k.bytes += f.size
		l.c.stats.Sent++
		l.c.net.write(l.c.net.get(k.conn), caller, frame)
	}
}

// frame encodes an operation's request, which is valid until the next one.
func (l *load) frame(f *flight) []byte {
	op := &l.history[f.op]
	if op.Odd != ordinary {
		return l.oddFrame(op, f.id)
	}
	kind := wire.FrameWrite
	if op.Read {
		kind = wire.FrameRead
		l.body = wire.AppendRead(l.body[:0], op.Level, op.Query)
	} else {
		l.body = wire.AppendWrite(l.body[:0], wire.Stamp{}, op.Command)
	}
	l.out = wire.AppendFrame(l.out[:0], kind, f.id, l.body)
	return l.out
}

// answer takes a frame that a node sent to the client.
func (l *load) answer(cl *simClient, node int, f wire.Frame) {
	k := &cl.lines[node]
	slot, size := l.match(cl, node, f.ID)
	if size == 0 {
		l.c.fail(fmt.Errorf("node %d answers request %d of client %d, which it does not owe an answer", node+1, f.ID, cl.index))
		return
	}
	k.requests--
	k.bytes -= size
	k.heard, k.answered, k.failures = l.c.now, true, 0
	if slot < 0 {
		l.c.stats.Late++
	} else if f.Type != wire.FrameError && l.history[cl.flights[slot].op].Odd != ordinary {
		l.oddAnswered(cl, slot, f)
	} else if f.Type != wire.FrameError {
		l.answered(cl, slot, f)
	} else {
		e, err := wire.ParseError(f.Body)
		if err != nil {
			l.c.fail(err)
			return
		}
		l.refused(cl, slot, e)
	}
	l.admit(cl, node)
}

// match finds the request that an answer belongs to, and its size: a flight, or
// one that was given up (slot -1).
func (l *load) match(cl *simClient, node int, id uint64) (slot, size int) {
	for i := range cl.flights {
		if f := &cl.flights[i]; f.phase == sent && f.node == node && f.id == id {
			return i, f.size
		}
	}
	late := cl.lines[node].late
	for i := range late {
		if late[i].id == id {
			size = late[i].size
			cl.lines[node].late = append(late[:i], late[i+1:]...)
			break
		}
	}
	return -1, size
}

func (l *load) answered(cl *simClient, slot int, f wire.Frame) {
	op := &l.history[cl.flights[slot].op]
	rev, result, err := wire.ParseReply(f.Body)
	if want := wire.FrameWriteReply; err == nil && f.Type != want && !op.Read || err == nil && f.Type != wire.FrameReadReply && op.Read {
		err = fmt.Errorf("a %v", f.Type)
	}
	if err != nil {
		l.c.fail(fmt.Errorf("client %d is answered with %w", cl.index, err))
		return
	}
	op.Return, op.Acked, op.Revision, op.Result = l.c.now, true, rev, l.keep(result)
	l.c.fail(l.c.check.returned(op))
	if err := l.learn(cl, op); err != nil {
		l.c.fail(fmt.Errorf("client %d is answered with %w", cl.index, err))
	}
	l.count(op)
	l.finish(cl, slot)
}

func (l *load) count(op *Op) {
	st := &l.c.stats
	switch {
	case !op.Read:
		st.Acked++
		if wire.Op(op.Command[0]) == wire.OpBatch {
			st.Batches++
		}
		return
	case op.Scan:
		st.Scans++
	}
	if op.Level == wire.Stale {
		st.Stales++
	}
	st.Reads++
}

// refused takes a node's refusal.
func (l *load) refused(cl *simClient, slot int, e *wire.Error) {
	f := &cl.flights[slot]
	odd := l.history[f.op].Odd
	if odd > askStatus && (e.Code == wire.CodeBadRequest || e.Code == wire.CodeTooLarge || e.Code == wire.CodeUnknownType) {
		l.finish(cl, slot)
		return
	}
	switch e.Code {
	case wire.CodeUnknown, wire.CodeNotLeader, wire.CodeUnavailable, wire.CodeBusy, wire.CodeFenced, wire.CodeNoSpace:
	default:
		l.c.fail(fmt.Errorf("node %d refused a correct request: %w", f.node+1, e))
		return
	}
	hint := -1
	if e.Code == wire.CodeNotLeader {
		hint = l.c.nodeAt(e.Leader)
	}
	l.failed(cl, slot, client.Attempt{
		Stage: client.StageAnswered, Code: e.Code, Hint: hint >= 0 && hint != f.node,
		RetryAfter: time.Duration(e.RetryAfterMs) * time.Millisecond,
	}, hint)
}

// failed does with an operation whose attempt did not succeed what the library's
// rules say.
func (l *load) failed(cl *simClient, slot int, a client.Attempt, hint int) {
	f := &cl.flights[slot]
	op := &l.history[f.op]
	a.Write, a.Maybe, a.Hops, a.Attempts = !op.Read, f.maybe, f.hops, max(f.attempts, 1)
	a.Left = time.Duration(f.deadline - l.c.now)
	a.Final = a.Final || l.c.quiet && l.demand == anything
	d := l.decide(a)
	f.maybe, f.hops = d.Maybe, d.Hops
	switch d.Action {
	case client.RetryNow:
		l.dispatch(cl, slot)
	case client.RetryLeader:
		l.c.stats.Followed++
		cl.home = hint
		l.dispatch(cl, slot)
	case client.RetryWait, client.RetryAway:
		if d.Action == client.RetryAway {
			l.leave(cl, f.node)
		}
		l.c.stats.Retried++
		f.phase = waiting
		wait := int64(d.AtLeast) + l.jitter(d.Backoff)
		l.c.at(wait, event{kind: evRetry, client: cl.index, read: slot, op: f.id})
	case client.Fail:
		op.Failed = true
		l.c.stats.Refused++
		l.finish(cl, slot)
	default:
		l.c.stats.Unknown++
		l.finish(cl, slot)
	}
}

func (l *load) jitter(d time.Duration) int64 { return l.rand.Int64N(int64(d) + 1) }

// leave looks elsewhere than at a node that was of no help.
func (l *load) leave(cl *simClient, node int) {
	if cl.home == node && (!cl.loyal || l.demand != anything) {
		cl.home = l.rand.IntN(len(cl.lines))
	}
	if cl.any == node {
		cl.any = (cl.any + 1) % len(cl.lines)
	}
}

// retry sends an operation again after a wait.
func (l *load) retry(cl *simClient, slot int, id uint64) {
	if f := &cl.flights[slot]; f.id == id && f.phase == waiting {
		l.dispatch(cl, slot)
	}
}

// timeout gives up on an operation whose time is over. If the request is on its
// way its credits stay taken until the node answers; from a node that has said
// nothing since the client hangs up.
func (l *load) timeout(cl *simClient, slot int, id uint64) {
	f := &cl.flights[slot]
	if f.id != id || f.phase == idle {
		return
	}
	a, node := client.Attempt{Stage: client.StageNotSent, Final: true}, f.node
	silent := false
	if f.phase == sent {
		a.Stage = client.StageSent
		k := &cl.lines[node]
		k.late = append(k.late, request{f.id, f.size})
		silent = k.heard < f.sentAt
		for i := range cl.flights {
			silent = silent && (i == slot || cl.flights[i].phase != sent || cl.flights[i].node != node)
		}
	}
	f.phase = waiting
	l.leave(cl, node)
	l.failed(cl, slot, a, -1)
	if c := l.c.net.get(cl.lines[node].conn); silent && c != nil {
		l.c.net.hangUp(c, caller)
	}
}

// lost ends the wait of all that a connection carried.
func (l *load) lost(cl *simClient, node int) {
	k := &cl.lines[node]
	if !k.answered {
		l.setBack(k)
	}
	k.conn, k.open, k.answered, k.requests, k.bytes, k.late = 0, false, false, 0, 0, k.late[:0]
	l.lostFlights(cl, node)
}

func (l *load) lostFlights(cl *simClient, node int) {
	for i := range cl.flights {
		f := &cl.flights[i]
		switch {
		case f.node != node:
		case f.phase == sent:
			l.c.stats.LostSent++
			l.failed(cl, i, client.Attempt{Stage: client.StageLost}, -1)
		case f.phase == queued:
			l.failed(cl, i, client.Attempt{Stage: client.StageNotSent}, -1)
		}
	}
}

// setBack leaves a node alone for a while that could not be reached.
func (l *load) setBack(k *line) {
	k.failures++
	most := min(client.MinBackoff<<min(k.failures-1, 10), client.MaxBackoff)
	k.retryAt = l.c.now + l.jitter(most)
}

// finish ends an operation; the client thinks, and then sends the next.
func (l *load) finish(cl *simClient, slot int) {
	f := &cl.flights[slot]
	f.phase = idle
	if l.demand != anything && l.history[f.op].Acked {
		cl.asked = true
		return
	}
	l.think(cl, slot)
}
