package client

import (
	"context"
	"fmt"

	"github.com/dnode-engine/dnode/wire"
)

// Batch collects writes that are carried out in order, as one command: all of
// them or none, at one revision, and nothing in between. It is not a
// transaction: a compare-and-set in it whose condition does not hold leaves
// the others as they are. The zero value is an empty batch. A batch is not
// safe for concurrent use.
type Batch struct {
	items   []byte
	command []byte
	count   int
	err     error
}

// Outcome is how one command of a batch ended.
type Outcome uint8

// The outcomes. Zero is invalid.
const (
	Done            Outcome = iota + 1
	NotFound                // a delete whose key was not there
	ConditionFailed         // a compare-and-set whose condition did not hold
	Refused                 // the store did not allow it
)

func (o Outcome) String() string {
	switch o {
	case Done:
		return "done"
	case NotFound:
		return "not found"
	case ConditionFailed:
		return "condition failed"
	case Refused:
		return "refused"
	default:
		return "invalid"
	}
}

// BatchResult is what became of a batch: one outcome per command, in order.
type BatchResult struct {
	Revision Revision
	Outcomes []Outcome
}

// Put adds a put. Key and value may be reused after the call.
func (b *Batch) Put(key string, value []byte) {
	if b.check(key, len(value)) {
		b.add(wire.AppendPut(b.command[:0], []byte(key), value))
	}
}

// Delete adds a delete.
func (b *Batch) Delete(key string) {
	if b.check(key, 0) {
		b.add(wire.AppendDelete(b.command[:0], []byte(key)))
	}
}

// CompareAndSet adds a compare-and-set.
func (b *Batch) CompareAndSet(key string, cond Condition, value []byte) {
	expected, revision := cond.value, [8]byte{}
	if cond.mode == wire.CASRevision {
		putUint64(revision[:], uint64(cond.revision))
		expected = revision[:]
	}
	if cond.mode == 0 && b.err == nil {
		b.err = &Error{Op: "batch", Class: ClassRefused, Err: errNoCondition}
	}
	if b.check(key, len(expected)+len(value)) {
		b.add(wire.AppendCAS(b.command[:0], wire.Command{Mode: cond.mode, Key: []byte(key), Expected: expected, Value: value}))
	}
}

// Len returns the number of commands added so far.
func (b *Batch) Len() int { return b.count }

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() { *b = Batch{items: b.items[:0], command: b.command[:0]} }

// check holds the batch to the limits; the first failure sticks and is
// returned by Client.Batch.
func (b *Batch) check(key string, rest int) bool {
	if b.err != nil {
		return false
	}
	q := call{op: "batch"}
	const header, perItem = 5, 16
	switch err := q.checkKey(key); {
	case err != nil:
		b.err = err
	case b.count == wire.MaxBatchOps:
		b.err = &Error{Op: "batch", Class: ClassTooLarge, Code: wire.CodeTooLarge, Err: fmt.Errorf(
			"more than %d commands", wire.MaxBatchOps)}
	default:
		b.err = q.checkSize(header + len(b.items) + perItem + len(key) + rest)
	}
	return b.err == nil
}

func (b *Batch) add(command []byte) {
	b.command = command
	b.items = wire.AppendBatchItem(b.items, command)
	b.count++
}

// Batch carries out a batch. A batch over a limit, or with an invalid command,
// fails before anything is sent. An empty batch changes nothing and is not
// sent. The batch may be reused after the call.
func (c *Client) Batch(ctx context.Context, b *Batch) (BatchResult, error) {
	if b.err != nil || b.count == 0 {
		return BatchResult{}, b.err
	}
	q := c.newCall("batch", wire.FrameWrite)
	q.body = append(wire.AppendBatchHeader(q.beginWrite(), b.count), b.items...)
	err := c.do(ctx, q)
	var res BatchResult
	if err == nil {
		res, err = q.batchResult(b.count)
	}
	c.release(q)
	return res, err
}

func (c *call) batchResult(count int) (BatchResult, error) {
	rev, st, body, err := c.result()
	if err != nil {
		return BatchResult{}, err
	}
	if st != wire.StatusOK {
		return BatchResult{}, c.badStatus(st)
	}
	r := wire.NewReader(body)
	if n := r.Count(5); n != count {
		return BatchResult{}, c.malformed(errNestedBatch)
	}
	res := BatchResult{Revision: rev, Outcomes: make([]Outcome, count)}
	for i := range res.Outcomes {
		one := r.Bytes(int(r.U32()))
		if len(one) == 0 || one[0] > byte(wire.StatusRefused) {
			return BatchResult{}, c.malformed(errNestedBatch)
		}
		res.Outcomes[i] = Outcome(one[0]) + Done
	}
	if err := r.Finish(); err != nil {
		return BatchResult{}, c.malformed(err)
	}
	return res, nil
}
