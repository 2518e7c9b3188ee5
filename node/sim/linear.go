package sim

import (
	"bytes"
	"fmt"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/dnode-engine/dnode/wire"
)

// returned checks an answer with the log as the witness of the order of all
// operations: a write stands where its answer says, a read between the entry it
// names and the next. Each comes after all that were answered before it was
// called, and its result is what its place implies. That is all that
// linearizability asks, and it costs nothing.
func (k *checker) returned(op *Op) error {
	if op.Level != wire.Stale && op.Revision < op.floor || !op.Read && op.Revision == op.floor {
		return fmt.Errorf("linearizability: client %d called at %d ns and is answered at index %d, after index %d had been answered",
			op.Client, op.Call, op.Revision, op.floor)
	}
	k.floor = max(k.floor, op.Revision)
	if int(op.Revision) > len(k.committed) {
		return fmt.Errorf("linearizability: client %d is answered at index %d, which is not committed", op.Client, op.Revision)
	}
	if op.Read {
		want, err := k.model.read(op.Query, op.Revision)
		if err == nil && !bytes.Equal(op.Result, want) {
			err = fmt.Errorf("linearizability: client %d read %q by %q at index %d, the log says %q", op.Client, op.Result, op.Query, op.Revision, want)
		}
		return err
	}
	if op.Revision == 0 || !bytes.Equal(k.command(op.Revision), op.Command) {
		return fmt.Errorf("exactness: the write of client %d is not the entry at %d, where its answer says it is", op.Client, op.Revision)
	}
	if want := k.model.results[op.Revision-1]; !bytes.Equal(op.Result, want) {
		return fmt.Errorf("result: the write of client %d at %d is answered with %q, the log says %q", op.Client, op.Revision, op.Result, want)
	}
	return nil
}

// command returns the command of a committed entry, nil if it is none.
func (k *checker) command(i wire.Index) []byte {
	e, err := wire.ParseEntry(k.committed[i-1].raw)
	if err != nil || e.Type != wire.EntryCommand {
		return nil
	}
	_, command, err := e.Command()
	if err != nil {
		return nil
	}
	return command
}

// outcomes checks that no write was carried out twice, and none that was said to
// have failed. No two writes of a history are the same.
func (k *checker) outcomes(c *Cluster) error {
	places := make(map[string]int, len(k.committed))
	for i := range k.committed {
		command := k.command(wire.Index(i + 1))
		if command == nil {
			continue
		}
		if first := places[string(command)]; first != 0 {
			return fmt.Errorf("exactness: entries %d and %d are one write, carried out twice", first, i+1)
		}
		places[string(command)] = i + 1
	}
	for i := range c.load.history {
		op := &c.load.history[i]
		if at := places[string(op.Command)]; op.Failed && !op.Read && at != 0 {
			return fmt.Errorf("exactness: a write of client %d was said to have failed, and is entry %d", op.Client, at)
		}
	}
	return nil
}

// patience is how long the search may take before it counts as a failure.
const patience = time.Minute

// linearizable searches an order of all operations that explains what the clients
// saw, key by key.
func (k *checker) linearizable(c *Cluster) error {
	if !c.opt.Search {
		return nil
	}
	ops, err := k.operations(c)
	if err != nil {
		return err
	}
	if res := porcupine.CheckOperationsTimeout(register, ops, patience); res != porcupine.Ok {
		return fmt.Errorf("linearizability: history of %d operations: %v", len(ops), res)
	}
	return nil
}

// input is one operation on one key; the value "" stands for no key.
type input struct {
	key      string
	op       wire.Op // zero: get
	expected string  // compare-and-set
	text     string
}

// output is what the client was told; known is false if it was told nothing.
type output struct {
	known  bool
	status wire.Status
	text   string
}

// register is what a linearizable key must behave like.
var register = porcupine.Model{
	Partition: byKey,
	Init:      func() any { return "" },
	Step: func(state, in, out any) (bool, any) {
		have, i, o := state.(string), in.(input), out.(output)
		status, next := wire.StatusOK, i.text
		switch {
		case i.op == 0:
			next = have
			if have == "" {
				status = wire.StatusNotFound
			}
			return o.status == status && o.text == have, next
		case i.op == wire.OpDelete && have == "":
			status = wire.StatusNotFound
		case i.op == wire.OpCAS && have != i.expected:
			status, next = wire.StatusConditionFailed, have
		}
		return !o.known || o.status == status, next
	},
	Equal: func(a, b any) bool { return a == b },
	Hash:  func(s any) uint64 { return uint64(wire.Checksum([]byte(s.(string)))) },
	DescribeOperation: func(in, out any) string {
		return fmt.Sprintf("%+v %+v", in, out)
	},
}

// byKey splits a history into those of its keys, in the order of their first use.
func byKey(history []porcupine.Operation) [][]porcupine.Operation {
	place := map[string]int{}
	var parts [][]porcupine.Operation
	for _, op := range history {
		key := op.Input.(input).key
		p, ok := place[key]
		if !ok {
			p = len(parts)
			place[key] = p
			parts = append(parts, nil)
		}
		parts[p] = append(parts[p], op)
	}
	return parts
}

// operations turns the clients' view into porcupine's. Reads without an answer
// and writes that were certainly not carried out say nothing; nor do writes of
// unknown outcome that were never committed. The others of unknown outcome take
// effect when they are: nobody may see them before, and dozens that wait for a
// partition to end would leave the search without one.
func (k *checker) operations(c *Cluster) ([]porcupine.Operation, error) {
	taken := make([]bool, len(k.committed)+1)
	for i := range c.load.history {
		if op := &c.load.history[i]; op.Acked && !op.Read {
			taken[op.Revision] = true
		}
	}
	places := map[string]wire.Index{} // of what nobody was told of
	for i := range k.committed {
		if at := wire.Index(i + 1); !taken[at] {
			places[string(k.command(at))] = at
		}
	}
	var ops []porcupine.Operation
	for i := range c.load.history {
		h := &c.load.history[i]
		p := porcupine.Operation{ClientId: h.Client, Call: h.Call, Return: h.Return}
		if h.Level == wire.Stale {
			continue
		}
		if !h.Acked {
			at, done := places[string(h.Command)]
			if h.Failed || h.Read || !done {
				continue
			}
			p.Call = max(k.committed[at-1].at, h.Call)
			p.Return = p.Call
			p.ClientId = c.opt.Clients + len(ops) // its client goes on meanwhile
		}
		var err error
		if p.Input, p.Output, err = described(h); err != nil {
			return nil, err
		}
		ops = append(ops, p)
	}
	return ops, nil
}

// described is an operation in porcupine's terms.
func described(h *Op) (input, output, error) {
	in, out := input{key: h.Key}, output{known: h.Acked}
	if h.Acked {
		out.status = wire.Status(h.Result[0])
	}
	if h.Read {
		if out.status != wire.StatusOK {
			return in, out, nil
		}
		it, _, err := wire.ParseItem(h.Result[1:])
		out.text = string(it.Value)
		return in, out, err
	}
	cmd, err := wire.ParseCommand(h.Command)
	if cmd.Op == wire.OpBatch {
		cmd, _, err = wire.NextBatchItem(cmd.Batch)
		if h.Acked { // behind the batch's status and count and the first result's length
			out.status = wire.Status(h.Result[9])
		}
	}
	in.op, in.expected, in.text = cmd.Op, string(cmd.Expected), string(cmd.Value)
	return in, out, err
}
