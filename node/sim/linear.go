package sim

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/dnode-engine/dnode/wire"
)

// change is a key's value from a log index on; "" stands for no value.
type change struct {
	index wire.Index
	value string
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
			if err := readsRight(op, keys[op.Key]); err != nil {
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
		if op.Revision < floor || !op.Read && op.Revision == floor {
			return fmt.Errorf("linearizability: client %d called at %d ns and was answered at index %d, after index %d had been answered",
				op.Client, op.Call, op.Revision, floor)
		}
	}
	return nil
}

// readsRight checks what a read returned against the log.
func readsRight(op *Op, changes []change) error {
	want := ""
	for _, ch := range changes {
		if ch.index <= op.Revision {
			want = ch.value
		}
	}
	got := ""
	if wire.Status(op.Result[0]) == wire.StatusOK {
		it, _, err := wire.ParseItem(op.Result[1:])
		if err != nil {
			return err
		}
		got = string(it.Value)
	}
	if got != want {
		return fmt.Errorf("linearizability: client %d read %q from %s at index %d, the log says %q", op.Client, got, op.Key, op.Revision, want)
	}
	return nil
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
		if cmd.Op == wire.OpBatch {
			cmd, _, err = wire.NextBatchItem(cmd.Batch)
		}
		if err != nil {
			return err
		}
		key := string(cmd.Key)
		old := keys[key]
		if cmd.Op == wire.OpCAS && len(old) > 0 && old[len(old)-1].value != "" {
			return nil
		}
		keys[key] = append(old, change{e.Index, string(cmd.Value)})
		return nil
	})
	return keys, err
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
