package client

import (
	"context"
	"fmt"

	"github.com/dnode-engine/dnode/wire"
)

// Revision is a point in the history of the store: the log index of a command.
// It is strictly increasing, not dense.
type Revision = wire.Index

// Consistency is how new the answer to a read must be.
type Consistency = wire.Consistency

// The levels. The zero value in ReadOptions and Range means Linearizable.
const (
	// Linearizable: as of some moment between call and return, always. Costs a
	// round of messages between the nodes.
	Linearizable = wire.Linearizable
	// Lease: the same, as long as the clocks of the nodes run at nearly the
	// same speed. Answered by the leader alone.
	Lease = wire.Lease
	// Stale: what the node asked has applied so far. May be old.
	Stale = wire.Stale
)

// ReadOptions choose how a read is answered. The zero value is the default.
type ReadOptions struct {
	Consistency Consistency
	// Endpoint names the node to ask. Empty: the leader, or for a stale read
	// one of the configured endpoints, the same one until it fails. Other
	// levels are refused by a node that is not the leader.
	Endpoint string
}

// Item is one key with its value and history. All of it is the caller's.
type Item struct {
	Key            string
	Value          []byte
	CreateRevision Revision // of the write that created the key
	ModRevision    Revision // of the last write
	Version        uint64   // writes since the key was created, 1 at first
}

// Get returns a key's item, or ErrNotFound. At most one option is used.
func (c *Client) Get(ctx context.Context, key string, opts ...ReadOptions) (Item, error) {
	q := c.newCall("get", wire.FrameRead)
	var opt ReadOptions
	if len(opts) > 0 {
		opt = opts[0]
	}
	err := q.get(key, opt)
	if err == nil {
		err = c.do(ctx, q)
	}
	var it Item
	if err == nil {
		it, err = q.itemResult()
		it.Key = key
		it.Value = append([]byte(nil), it.Value...)
	}
	c.release(q)
	return it, err
}

// GetAsync starts a get and returns at once; done is called once, later, when
// it has ended. Item.Key is empty and Item.Value is only valid during the call
// of done. If GetAsync returns an error the get was not started and done is
// never called. See the package documentation for what done may do.
func (c *Client) GetAsync(ctx context.Context, key string, opt ReadOptions, done func(Item, error)) error {
	q := c.newCall("get", wire.FrameRead)
	q.onItem = done
	err := q.get(key, opt)
	return c.async(ctx, q, err)
}

// Put sets a key and returns the revision at which it was set.
func (c *Client) Put(ctx context.Context, key string, value []byte) (Revision, error) {
	q := c.newCall("put", wire.FrameWrite)
	err := q.put(key, value)
	if err == nil {
		err = c.do(ctx, q)
	}
	var rev Revision
	if err == nil {
		rev, err = q.writeResult()
	}
	c.release(q)
	return rev, err
}

// PutAsync starts a put and returns at once; key and value may be reused then.
// done is called once, later, when it has ended. If PutAsync returns an error
// the put was not started and done is never called. See the package
// documentation for what done may do.
func (c *Client) PutAsync(ctx context.Context, key string, value []byte, done func(Revision, error)) error {
	q := c.newCall("put", wire.FrameWrite)
	q.onWrite = done
	err := q.put(key, value)
	return c.async(ctx, q, err)
}

// Delete removes a key. It returns the revision of the command, and whether
// the key was there.
func (c *Client) Delete(ctx context.Context, key string) (rev Revision, existed bool, err error) {
	q := c.newCall("delete", wire.FrameWrite)
	if err = q.checkKey(key); err == nil {
		q.body = wire.AppendDelete(q.beginWrite(), []byte(key))
		err = c.do(ctx, q)
	}
	var st wire.Status
	if err == nil {
		rev, st, _, err = q.result()
		existed = st == wire.StatusOK
		if err == nil && st > wire.StatusNotFound {
			err = q.badStatus(st)
		}
	}
	c.release(q)
	return rev, existed, err
}

// Condition is what a compare-and-set compares with: Absent, ValueIs or
// RevisionIs. The zero value is refused.
type Condition struct {
	mode     wire.CASMode
	value    []byte
	revision Revision
}

// Absent holds if the key does not exist.
func Absent() Condition { return Condition{mode: wire.CASAbsent} }

// ValueIs holds if the key exists with exactly this value.
func ValueIs(value []byte) Condition { return Condition{mode: wire.CASValue, value: value} }

// RevisionIs holds if the key exists and rev is its ModRevision.
func RevisionIs(rev Revision) Condition { return Condition{mode: wire.CASRevision, revision: rev} }

// CompareAndSet sets a key if the condition holds, as one step. If it does not
// hold the error is a *ConditionError with what stands there instead, which
// matches ErrConditionFailed.
func (c *Client) CompareAndSet(ctx context.Context, key string, cond Condition, value []byte) (Revision, error) {
	q := c.newCall("compare and set", wire.FrameWrite)
	err := q.compareAndSet(key, cond, value)
	if err == nil {
		err = c.do(ctx, q)
	}
	var rev Revision
	if err == nil {
		rev, err = q.casResult(key)
	}
	c.release(q)
	return rev, err
}

// Status returns what the node at endpoint says about itself and the cluster;
// with an empty endpoint, some configured node that answers.
func (c *Client) Status(ctx context.Context, endpoint string) (wire.NodeStatus, error) {
	q := c.newCall("status", wire.FrameStatus)
	q.target, q.endpoint = toAny, endpoint
	var err error
	if endpoint != "" {
		q.target = toEndpoint
		err = q.checkEndpoint()
	}
	if err == nil {
		err = c.do(ctx, q)
	}
	var st wire.NodeStatus
	if err == nil {
		if st, err = wire.ParseStatus(q.reply); err != nil {
			err = q.malformed(err)
		}
	}
	c.release(q)
	return st, err
}

// async begins an asynchronous call, or releases it.
func (c *Client) async(ctx context.Context, q *call, err error) error {
	if ctx.Done() != nil {
		q.ctx = ctx
	}
	if err == nil {
		err = c.begin(ctx, q)
	}
	if err != nil {
		c.release(q)
	}
	return err
}

// beginWrite returns the body of a write up to the command, which is to be
// appended.
func (c *call) beginWrite() []byte { return wire.AppendWrite(c.body, wire.Stamp{}, nil) }

func (c *call) put(key string, value []byte) error {
	if err := c.checkKey(key); err != nil {
		return err
	}
	const overhead = 7
	if err := c.checkSize(overhead + len(key) + len(value)); err != nil {
		return err
	}
	c.body = wire.AppendPut(c.beginWrite(), []byte(key), value)
	return nil
}

func (c *call) compareAndSet(key string, cond Condition, value []byte) error {
	if err := c.checkKey(key); err != nil {
		return err
	}
	if cond.mode == 0 {
		return &Error{Op: c.op, Class: ClassRefused, Err: errNoCondition}
	}
	expected, revision := cond.value, [8]byte{}
	if cond.mode == wire.CASRevision {
		putUint64(revision[:], uint64(cond.revision))
		expected = revision[:]
	}
	const overhead = 12
	if err := c.checkSize(overhead + len(key) + len(expected) + len(value)); err != nil {
		return err
	}
	c.body = wire.AppendCAS(c.beginWrite(), wire.Command{Mode: cond.mode, Key: []byte(key), Expected: expected, Value: value})
	return nil
}

func (c *call) get(key string, opt ReadOptions) error {
	if err := c.checkKey(key); err != nil {
		return err
	}
	if err := c.route(&opt); err != nil {
		return err
	}
	c.body = wire.AppendGet(wire.AppendRead(c.body, opt.Consistency, nil), []byte(key))
	c.keyBytes = len(key)
	return nil
}

// route fills in the default level and says who may answer.
func (c *call) route(opt *ReadOptions) error {
	switch opt.Consistency {
	case 0:
		opt.Consistency = Linearizable
	case Linearizable, Lease:
	case Stale:
		c.target = toAny
	default:
		return &Error{Op: c.op, Class: ClassRefused, Err: fmt.Errorf("consistency %d is not known", opt.Consistency)}
	}
	if opt.Endpoint == "" {
		return nil
	}
	c.target, c.endpoint = toEndpoint, opt.Endpoint
	return c.checkEndpoint()
}

func (c *call) checkEndpoint() error {
	if err := checkAddr(c.endpoint); err != nil {
		return &Error{Op: c.op, Class: ClassRefused, Err: fmt.Errorf("endpoint %q: %w", c.endpoint, err)}
	}
	return nil
}

// checkKey holds a key to the limits before anything is sent.
func (c *call) checkKey(key string) error {
	switch {
	case key == "":
		return &Error{Op: c.op, Class: ClassRefused, Err: errEmptyKey}
	case len(key) > wire.MaxKeyBytes:
		return &Error{Op: c.op, Class: ClassTooLarge, Code: wire.CodeTooLarge, Err: fmt.Errorf(
			"key of %d bytes, at most %d are allowed", len(key), wire.MaxKeyBytes)}
	}
	return nil
}

// checkSize holds a command to the limits before anything is sent.
func (c *call) checkSize(command int) error {
	if command > wire.MaxCommandBytes {
		return &Error{Op: c.op, Class: ClassTooLarge, Code: wire.CodeTooLarge, Err: fmt.Errorf(
			"a command of %d bytes, at most %d are allowed", command, wire.MaxCommandBytes)}
	}
	return nil
}
