package main

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/dnode-engine/dnode/client"
	"github.com/dnode-engine/dnode/wire"
)

// content is what a key holds; mod is zero if it holds nothing.
type content struct {
	value       string
	create, mod wire.Index
	version     uint64
}

// step is what an operation does to one key.
type step struct {
	key    string
	op     wire.Op // zero: get
	mode   wire.CASMode
	value  string // of its own for every write
	expect string // compare-and-set: the value, or the 8 bytes of the revision
}

// result is what a step gave: the item of a get or of a failed compare-and-set.
type result struct {
	status wire.Status
	it     content
	bare   bool // a compare-and-set in a batch: no item comes with its failure
}

// outcome is what a client knows of an operation. Zero is invalid.
type outcome uint8

const (
	answered outcome = iota + 1
	refused          // certainly not carried out
	unknown
)

// operation is one call of a client and its end, in nanoseconds since the run
// began. A batch or a scan has several steps.
type operation struct {
	client    int
	call, ret int64
	outcome   outcome
	rev       wire.Index // answered: of the write, or of the state a scan saw
	steps     []step
	results   []result // answered: one for each step
}

func (o *operation) write() bool { return o.steps[0].op != 0 }

// apply is what a key must behave like: the status and the next item.
func (s step) apply(have content, rev wire.Index) (wire.Status, content) {
	exists := have.mod != 0
	switch {
	case (s.op == 0 || s.op == wire.OpDelete) && !exists:
		return wire.StatusNotFound, content{}
	case s.op == 0:
		return wire.StatusOK, have
	case s.op == wire.OpDelete:
		return wire.StatusOK, content{}
	case s.op == wire.OpCAS && !s.holds(have):
		return wire.StatusConditionFailed, have
	}
	next := content{value: s.value, create: rev, mod: rev, version: 1}
	if exists {
		next.create, next.version = have.create, have.version+1
	}
	return wire.StatusOK, next
}

func (s step) holds(have content) bool {
	switch {
	case s.mode == wire.CASAbsent:
		return have.mod == 0
	case have.mod == 0:
		return false
	case s.mode == wire.CASValue:
		return have.value == s.expect
	default:
		return s.expect == revisionText(have.mod)
	}
}

// modelState is a key as porcupine sees it, and the last revision that wrote it,
// though the key may be gone since.
type modelState struct {
	content
	last wire.Index
}

// modelInput is a step at its revision, zero for a read.
type modelInput struct {
	step
	rev wire.Index
}

// modelOutput is its result; known is false if the client was told nothing.
type modelOutput struct {
	result
	known bool
}

// keyModel is porcupine's view of one key. Revisions must grow, which also
// leaves few orders to try: it finds 4,000 operations wrong in a tenth of a
// second that took more than ten with six deletes at any time among them.
var keyModel = porcupine.Model{
	Init: func() any { return modelState{} },
	Step: func(state, in, out any) (bool, any) {
		have, i, o := state.(modelState), in.(modelInput), out.(modelOutput)
		if i.op != 0 && i.rev <= have.last {
			return false, state
		}
		status, next := i.apply(have.content, i.rev)
		right := !o.known || o.status == status
		if o.known && (i.op == 0 || status == wire.StatusConditionFailed && !o.bare) {
			right = right && o.it == have.content
		}
		return right, modelState{next, max(have.last, i.rev)}
	},
	Equal: func(a, b any) bool { return a == b },
	Hash: func(s any) uint64 {
		return uint64(s.(modelState).last)
	},
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v %+v", in, out) },
}

// verdict is what the judge of a history has found.
type verdict struct {
	operations int // answered or of unknown outcome
	unknown    int // writes of unknown outcome
	refused    int // certainly not carried out
	inLog      int // writes of unknown outcome that were carried out
	checked    time.Duration
}

func (v verdict) unknownShare() float64 { return float64(v.unknown) / float64(max(v.operations, 1)) }

var errNotLinearizable = errors.New("the history is not linearizable")

// judge holds a history against the committed log and against linearizability:
// every acknowledged write stands in the log where its answer said, nothing
// else does but writes of unknown outcome, each at most once, and no write that
// was called failed; scans saw what the log says; and porcupine finds an order.
func judge(history []operation, log []entry, limit time.Duration) (verdict, error) {
	v := verdict{}
	for i := range history {
		switch history[i].outcome {
		case refused:
			v.refused++
		case unknown:
			v.unknown++
			v.operations++
		default:
			v.operations++
		}
	}
	places, err := account(history, log)
	if err != nil {
		return v, err
	}
	v.inLog = len(places)
	if err := scansRight(history, log); err != nil {
		return v, err
	}
	began := time.Now()
	err = linearizable(history, places, limit)
	v.checked = time.Since(began)
	return v, err
}

// linearizable asks porcupine, key by key.
func linearizable(history []operation, places map[int]wire.Index, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for key, ops := range perKey(history, places) {
		switch porcupine.CheckOperationsTimeout(keyModel, ops, max(time.Until(deadline), 1)) {
		case porcupine.Illegal:
			return fmt.Errorf("%w: %d operations on %s", errNotLinearizable, len(ops), key)
		case porcupine.Unknown:
			return fmt.Errorf("cannot check %d operations on %s within %v", len(ops), key, limit)
		}
	}
	return nil
}

// never is when an answer came that did not.
const never = math.MaxInt64

// perKey turns a history into porcupine's operations. Writes of unknown outcome
// count only if they stand in the log; they had taken effect when an answer
// showed that index or a later one.
func perKey(history []operation, places map[int]wire.Index) map[string][]porcupine.Operation {
	keys := make(map[string][]porcupine.Operation)
	shown := firstShown(history)
	for n := range history {
		o := &history[n]
		rev, ret := o.rev, o.ret
		if o.outcome == unknown {
			at, carriedOut := places[n]
			if !carriedOut {
				continue
			}
			rev, ret = at, max(o.call, shown(at))
		}
		if o.outcome == refused || o.outcome == unknown && !o.write() {
			continue
		}
		if !o.write() {
			rev = 0
		}
		for i, s := range o.steps {
			out := modelOutput{known: o.outcome == answered}
			if out.known {
				out.result = o.results[i]
			}
			keys[s.key] = append(keys[s.key], porcupine.Operation{
				ClientId: o.client, Input: modelInput{s, rev}, Call: o.call, Output: out, Return: ret,
			})
		}
	}
	return keys
}

// firstShown returns a function that tells when the first answer came from a
// state with the given index, never if none did.
func firstShown(history []operation) func(wire.Index) int64 {
	type showing struct {
		rev wire.Index
		at  int64
	}
	var all []showing
	for i := range history {
		o := &history[i]
		if o.outcome != answered {
			continue
		}
		rev := o.rev
		for _, r := range o.results {
			rev = max(rev, r.it.mod)
		}
		all = append(all, showing{rev, o.ret})
	}
	slices.SortFunc(all, func(a, b showing) int { return cmp.Compare(a.rev, b.rev) })
	for i := len(all) - 2; i >= 0; i-- {
		all[i].at = min(all[i].at, all[i+1].at)
	}
	return func(rev wire.Index) int64 {
		i, _ := slices.BinarySearchFunc(all, rev, func(s showing, r wire.Index) int { return cmp.Compare(s.rev, r) })
		if i == len(all) {
			return never
		}
		return all[i].at
	}
}

// plantStale makes one answered get return what the key held before a write
// that had been acknowledged when the get was called, and reports whether there
// was a get that allows it.
func plantStale(history []operation) bool {
	ended := make(map[wire.Index]int64)
	older := make(map[string][]result)
	for i := range history {
		o := &history[i]
		if o.outcome == answered && o.write() {
			ended[o.rev] = o.ret
		}
		if o.outcome == answered && !o.write() && len(o.steps) == 1 {
			older[o.steps[0].key] = append(older[o.steps[0].key], o.results[0])
		}
	}
	for i := len(history) - 1; i >= 0; i-- {
		o := &history[i]
		if o.outcome != answered || o.write() || len(o.steps) > 1 || o.results[0].it.mod == 0 {
			continue
		}
		now := o.results[0].it
		at, known := ended[now.mod]
		if !known || at >= o.call {
			continue
		}
		for _, r := range older[o.steps[0].key] {
			if r.it.mod != 0 && r.it.mod < now.mod {
				o.results = []result{r}
				return true
			}
		}
	}
	return false
}

// endOf tells what an error of the client means for an operation's history.
func endOf(err error) outcome {
	switch {
	case err == nil, errors.Is(err, client.ErrNotFound), errors.Is(err, client.ErrConditionFailed):
		return answered
	case client.OutcomeUnknown(err):
		return unknown
	default:
		return refused
	}
}
