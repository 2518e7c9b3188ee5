package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/dnode-engine/dnode/wire"
)

// input is one operation on one key; the value "" stands for no key.
type input struct {
	key  string
	op   wire.Op // zero: get
	text string
}

// output is what the client was told; known is false if it was told nothing.
type output struct {
	known  bool
	status wire.Status
	text   string
}

// register is what a linearizable key must behave like.
var register = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		keys := map[string][]porcupine.Operation{}
		for _, op := range history {
			k := op.Input.(input).key
			keys[k] = append(keys[k], op)
		}
		var parts [][]porcupine.Operation
		for _, p := range keys {
			parts = append(parts, p)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, in, out any) (bool, any) {
		have, i, o := state.(string), in.(input), out.(output)
		status, next := wire.StatusOK, i.text
		switch i.op {
		case 0:
			next = have
			if have == "" {
				status = wire.StatusNotFound
			}
			return o.status == status && o.text == have, next
		case wire.OpDelete:
			next = ""
			if have == "" {
				status = wire.StatusNotFound
			}
		case wire.OpCAS:
			if have != "" {
				status, next = wire.StatusConditionFailed, have
			}
		}
		return !o.known || o.status == status, next
	},
	Equal: func(a, b any) bool { return a == b },
	Hash:  func(s any) uint64 { return uint64(wire.Checksum([]byte(s.(string)))) },
	DescribeOperation: func(in, out any) string {
		return fmt.Sprintf("%+v %+v", in, out)
	},
}

// operations turns the clients' view into porcupine's. Reads without an answer
// and writes that were certainly not carried out say nothing; nor do writes of
// unknown outcome that are not in the committed log. The others of unknown
// outcome had taken effect when some member first applied them.
func operations(t *testing.T, c *Cluster) []porcupine.Operation {
	var ops []porcupine.Operation
	logged := unclaimed(t, c)
	for _, h := range c.load.history {
		applied, carriedOut := logged[string(h.Command)]
		if h.Failed || h.Level == wire.Stale || !h.Acked && (h.Read || !carriedOut) {
			continue
		}
		p := porcupine.Operation{ClientId: h.Client, Call: h.Call, Return: h.Return}
		out := output{known: h.Acked}
		if h.Acked {
			out.status = wire.Status(h.Result[0])
		} else {
			p.Return = max(applied, h.Call)
			p.ClientId = c.opt.Clients + len(ops) // its client goes on meanwhile
		}
		in := input{key: h.Key}
		if h.Read {
			if out.status == wire.StatusOK {
				it, _, err := wire.ParseItem(h.Result[1:])
				if err != nil {
					t.Fatal(err)
				}
				out.text = string(it.Value)
			}
		} else {
			cmd, err := wire.ParseCommand(h.Command)
			if err != nil {
				t.Fatal(err)
			}
			in.op, in.text = cmd.Op, string(cmd.Value)
			if in.op == wire.OpBatch {
				in.op = wire.OpDelete
				if h.Acked { // behind the batch's status and count and the first result's length
					out.status = wire.Status(h.Result[9])
				}
			}
		}
		p.Input, p.Output = in, out
		ops = append(ops, p)
	}
	return ops
}

// unclaimed returns the commands in the committed log, that no
// acknowledgement accounts for, and when each was first applied.
func unclaimed(t *testing.T, c *Cluster) map[string]int64 {
	log, err := c.check.commands(c.witness())
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range c.load.history {
		if !h.Read && h.Acked {
			log[h.Revision-1] = ""
		}
	}
	left := map[string]int64{}
	for i, command := range log {
		left[command] = c.check.committed[i].at
	}
	return left
}

// TestLinearizable checks histories of swarms once more, without the log as a
// witness, and that the check would notice a single stale read. On one key and
// with many operations at once it would take for ever, so there are more keys.
func TestLinearizable(t *testing.T) {
	caught := 0
	for seed := uint64(1); seed <= seeds(t, 40); seed++ {
		opt := Swarm(seed)
		opt.Keys, opt.Depth, opt.Mixed, opt.Scans = opt.Keys+4, 1, false, 0
		opt.Beyond = false // where nobody may be left who knows the whole log
		c := New(opt)
		c.run()
		if c.err != nil {
			t.Fatalf("seed %d: %v", seed, c.err)
		}
		ops := operations(t, c)
		if res := porcupine.CheckOperationsTimeout(register, ops, time.Minute); res != porcupine.Ok {
			t.Fatalf("seed %d: history of %d operations: %v", seed, len(ops), res)
		}
		if plantStaleRead(ops) && porcupine.CheckOperationsTimeout(register, ops, time.Minute) == porcupine.Illegal {
			caught++
		}
	}
	if caught == 0 {
		t.Fatal("no planted stale read was noticed: the check proves nothing")
	}
}

// plantStaleRead makes the last answered read return the value that an earlier
// read of the key returned, if that is another.
func plantStaleRead(ops []porcupine.Operation) bool {
	for i := len(ops) - 1; i >= 0; i-- {
		in, out := ops[i].Input.(input), ops[i].Output.(output)
		if in.op != 0 {
			continue
		}
		for j := range i {
			if o := ops[j].Output.(output); ops[j].Input.(input) == in && o.text != out.text && ops[j].Return < ops[i].Call {
				ops[i].Output = o
				return true
			}
		}
	}
	return false
}
