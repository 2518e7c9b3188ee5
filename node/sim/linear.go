package sim

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/dnode-engine/dnode/wire"
)

// change is a key's value from a log index on; "" stands for no value.
type change struct {
	index   wire.Index
	created wire.Index
	version uint64
	value   string
}

// linearizable checks the clients' history with the log as the witness of its
// order: a write stands where its reply says, a read between the entry it names
// and the next. The order must respect real time, and every read must have
// returned what its place in the log implies. That is all that linearizability
// asks, and it costs a sort.
func (k *checker) linearizable(c *Cluster, n *node) error {
	keys, err := k.replay(n)
	if err != nil {
		return err
	}
	answered := make([]*Op, 0, len(c.load.history))
	for i := range c.load.history {
		if op := &c.load.history[i]; op.Acked {
			answered = append(answered, op)
		}
	}
	for _, op := range answered {
		if op.Read {
			if err := k.readsRight(c, op, keys); err != nil {
				return err
			}
		}
	}
	return inRealTime(answered)
}

// inRealTime checks that no operation stands before one that had returned when
// it was called.
func inRealTime(ops []*Op) error {
	byCall := slices.Clone(ops)
	slices.SortFunc(byCall, func(a, b *Op) int { return cmp.Compare(a.Call, b.Call) })
	slices.SortFunc(ops, func(a, b *Op) int { return cmp.Compare(a.Return, b.Return) })
	var floor wire.Index
	returned := 0
	for _, op := range byCall {
		for returned < len(ops) && ops[returned].Return < op.Call {
			floor = max(floor, ops[returned].Revision)
			returned++
		}
		if op.Level == wire.Stale {
			continue
		}
		if op.Revision < floor || !op.Read && op.Revision == floor {
			return fmt.Errorf("linearizability: client %d called at %d ns and was answered at index %d, after index %d had been answered",
				op.Client, op.Call, op.Revision, floor)
		}
	}
	return nil
}

// readsRight checks what a read returned against the log.
func (k *checker) readsRight(c *Cluster, op *Op, keys map[string][]change) error {
	q, err := wire.ParseQuery(op.Query)
	if err != nil {
		return err
	}
	got, want := op.Result, []byte{byte(wire.StatusNotFound)}
	if !op.Scan {
		if now := at(keys[op.Key], op.Revision); now.value != "" {
			want = now.item([]byte{byte(wire.StatusOK)}, op.Key)
		}
	} else {
		want = scanned(c.load.keys, keys, op.Revision, &q)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("linearizability: client %d read %q from %q at index %d, the log says %q", op.Client, got, op.Query, op.Revision, want)
	}
	return nil
}

// at returns what a key was after an entry.
func at(changes []change, i wire.Index) change {
	n, _ := slices.BinarySearchFunc(changes, i+1, func(ch change, i wire.Index) int { return cmp.Compare(ch.index, i) })
	if n == 0 {
		return change{}
	}
	return changes[n-1]
}

// scanned returns the result of a scan after an entry, as package wire describes
// it. All keys are sorted.
func scanned(all []string, keys map[string][]change, i wire.Index, q *wire.Query) []byte {
	var items, next []byte
	count := uint32(0)
	for _, key := range all {
		now := at(keys[key], i)
		if now.value == "" || key < string(q.Start) || len(q.End) > 0 && key >= string(q.End) {
			continue
		}
		bare := now
		bare.value = ""
		if count == q.Limit {
			next = bare.item(nil, key)
			break
		}
		count++
		switch {
		case q.Flags&wire.ScanCountOnly != 0:
		case q.Flags&wire.ScanKeysOnly != 0:
			items = bare.item(items, key)
		default:
			items = now.item(items, key)
		}
	}
	more := byte(0)
	if next != nil {
		more = 1
		if q.Flags&wire.ScanCountOnly != 0 {
			items = next
		}
	}
	b := binary.LittleEndian.AppendUint32([]byte{byte(wire.StatusOK), more}, count)
	return append(b, items...)
}

// replay derives from a node's log what each key's value was when, without the
// state machine's help.
func (k *checker) replay(n *node) (map[string][]change, error) {
	keys := map[string][]change{}
	err := n.eachEntry(n.rep.Applied(), func(e *wire.Entry, raw []byte) error {
		if e.Type != wire.EntryCommand {
			return nil
		}
		_, b, err := e.Command()
		if err != nil {
			return err
		}
		cmd, err := wire.ParseCommand(b)
		if cmd.Op != wire.OpBatch {
			apply(keys, e.Index, &cmd)
			return err
		}
		for rest := cmd.Batch; len(rest) > 0 && err == nil; {
			if cmd, rest, err = wire.NextBatchItem(rest); err == nil {
				apply(keys, e.Index, &cmd)
			}
		}
		return err
	})
	return keys, err
}

// apply carries out one command that is not a batch.
func apply(keys map[string][]change, i wire.Index, c *wire.Command) {
	key := string(c.Key)
	was := at(keys[key], i)
	switch {
	case c.Op == wire.OpDelete && was.value == "",
		c.Op == wire.OpCAS && c.Mode == wire.CASAbsent && was.value != "",
		c.Op == wire.OpCAS && c.Mode == wire.CASValue && (was.value == "" || was.value != string(c.Expected)),
		c.Op == wire.OpCAS && c.Mode == wire.CASRevision && (was.value == "" || was.index != c.Revision()):
		return
	}
	now := change{index: i, created: i, version: 1, value: string(c.Value)}
	if was.value != "" {
		now.created, now.version = was.created, was.version+1
	}
	keys[key] = append(keys[key], now)
}

// item appends what a reader is given.
func (ch change) item(dst []byte, key string) []byte {
	return wire.AppendItem(dst, wire.Item{
		CreateRevision: ch.created, ModRevision: ch.index, Version: ch.version, Key: []byte(key), Value: []byte(ch.value),
	})
}

// eachEntry reads a node's log from its disk, up to and including last.
func (n *node) eachEntry(last wire.Index, visit func(e *wire.Entry, raw []byte) error) error {
	for next := wire.Index(1); next <= last; {
		b, err := n.store.Read(n.c.scratch[:0], next, 1<<20)
		if err != nil {
			return fmt.Errorf("cannot read log back: %w", err)
		}
		for n.c.scratch = b; len(b) > 0 && next <= last; {
			e, err := wire.ParseEntry(b)
			if err != nil || e.Index != next {
				return fmt.Errorf("cannot read log back: entry %d where %d is expected: %w", e.Index, next, err)
			}
			if err := visit(&e, b[:e.Size]); err != nil {
				return err
			}
			next++
			b = b[e.Size:]
		}
	}
	return nil
}
