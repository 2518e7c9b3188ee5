package client

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dnode-engine/dnode/wire"
)

var (
	errEmptyKey    = errors.New("the key is empty")
	errNoCondition = errors.New("the condition is empty: use Absent, ValueIs or RevisionIs")
	errOtherAnswer = errors.New("the answer is about something else than the question")
	errNestedBatch = errors.New("the answer has another shape than the batch")
)

func putUint64(b []byte, v uint64) { binary.LittleEndian.PutUint64(b, v) }

// result splits an answer into revision, status and what follows it.
func (c *call) result() (Revision, wire.Status, []byte, error) {
	if c.err != nil {
		return 0, 0, nil, c.err
	}
	rev, body, err := wire.ParseReply(c.reply)
	if err != nil {
		return 0, 0, nil, c.malformed(err)
	}
	if len(body) == 0 {
		return 0, 0, nil, c.malformed(fmt.Errorf("%w: empty result", wire.ErrMalformed))
	}
	return rev, wire.Status(body[0]), body[1:], nil
}

// writeResult is the result of a put.
func (c *call) writeResult() (Revision, error) {
	rev, st, _, err := c.result()
	if err == nil && st != wire.StatusOK {
		err = c.badStatus(st)
	}
	return rev, err
}

// itemResult is the result of a get. The value aliases the answer; the key is
// compared with the one asked for and left out.
func (c *call) itemResult() (Item, error) {
	rev, st, body, err := c.result()
	if err != nil {
		return Item{}, err
	}
	if st == wire.StatusNotFound {
		return Item{}, ErrNotFound
	}
	if st != wire.StatusOK {
		return Item{}, c.badStatus(st)
	}
	it, rest, err := wire.ParseItem(body)
	if err != nil {
		return Item{}, c.malformed(err)
	}
	asked := c.body[len(c.body)-c.keyBytes:]
	if !bytes.Equal(asked, it.Key) || !possible(&it, rev) || len(rest) > 0 {
		return Item{}, c.malformed(errOtherAnswer)
	}
	return Item{
		Value: it.Value, CreateRevision: it.CreateRevision, ModRevision: it.ModRevision, Version: it.Version,
	}, nil
}

// possible reports whether an item may stand in a state of the given revision.
func possible(it *wire.Item, rev Revision) bool {
	return it.CreateRevision <= it.ModRevision && it.ModRevision <= rev
}

// casResult is the result of a compare-and-set.
func (c *call) casResult(key string) (Revision, error) {
	rev, st, body, err := c.result()
	if err != nil || st == wire.StatusOK {
		return rev, err
	}
	if st != wire.StatusConditionFailed {
		return 0, c.badStatus(st)
	}
	failed := &ConditionError{Key: key, Revision: rev}
	if len(body) == 0 || body[0] > 1 || body[0] == 0 && len(body) > 1 {
		return 0, c.malformed(fmt.Errorf("%w: neither an item nor none", wire.ErrMalformed))
	}
	if body[0] == 1 {
		it, rest, err := wire.ParseItem(body[1:])
		if err != nil {
			return 0, c.malformed(err)
		}
		if key != string(it.Key) || !possible(&it, rev) || len(rest) > 0 {
			return 0, c.malformed(errOtherAnswer)
		}
		failed.Exists = true
		failed.Current = Item{
			Key: key, Value: bytes.Clone(it.Value),
			CreateRevision: it.CreateRevision, ModRevision: it.ModRevision, Version: it.Version,
		}
	}
	return 0, failed
}

// badStatus is the error for a status that is not a success of this operation.
// Only StatusRefused is one that a node may give.
func (c *call) badStatus(st wire.Status) error {
	if st != wire.StatusRefused {
		return c.malformed(fmt.Errorf("status %d", st))
	}
	_, _, body, _ := c.result()
	r := wire.NewReader(body)
	code := wire.Code(r.U16())
	if err := r.Finish(); err != nil || code == 0 {
		return c.malformed(fmt.Errorf("%w: a refusal without a reason", wire.ErrMalformed))
	}
	class := ClassRefused
	switch code {
	case wire.CodeTooLarge:
		class = ClassTooLarge
	case wire.CodeNoSpace:
		class = ClassNoSpace
	case wire.CodeBusy:
		class = ClassBusy
	}
	return c.resultError(class, code, &wire.Error{Code: code})
}

// malformed is the error for an answer that cannot be understood. If it
// answers a write, the write may well have been carried out.
func (c *call) malformed(err error) error {
	class := ClassProtocol
	if c.write() {
		class = ClassUnknown
		err = fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return c.resultError(class, 0, err)
}

func (c *call) resultError(class Class, code wire.Code, err error) error {
	e := &Error{Op: c.op, Class: class, Code: code, Attempts: c.attempts, Err: err}
	if c.node != nil {
		e.Endpoint = c.node.addr
	}
	return e
}
