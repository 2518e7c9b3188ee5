package main

import (
	"cmp"
	enc "encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/osfs"
	"github.com/dnode-engine/dnode/wire"
)

// keyPrefix is what the keys of a load begin with; other commands in the log
// are none of the history's business.
const keyPrefix = "k/"

// entry is one command of a load as it stands in the log.
type entry struct {
	index wire.Index
	steps []step
}

func revisionText(rev wire.Index) string {
	return string(enc.LittleEndian.AppendUint64(nil, uint64(rev)))
}

// readLog returns the commands of a stopped node's log up to and including
// last, and the checksum of all its entries.
func readLog(dir string, last wire.Index) (log []entry, sum uint32, err error) {
	fs, err := osfs.Open(dir)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, fs.Close()) }()
	id, err := wal.LoadIdentity(fs)
	if err != nil {
		return nil, 0, err
	}
	l, _, err := wal.Open(fs, wal.Options{SegmentBytes: wire.DefaultSegmentBytes, Owner: id.Replica})
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	for next := wire.Index(1); next <= last; {
		b, err := l.Read(nil, next, 1<<20)
		if err != nil {
			return nil, 0, err
		}
		for len(b) > 0 && next <= last {
			e, err := wire.ParseEntry(b)
			if err != nil || e.Index != next {
				return nil, 0, fmt.Errorf("entry %d where %d is expected: %w", e.Index, next, err)
			}
			sum = wire.Checksum(append(enc.LittleEndian.AppendUint32(nil, sum), b[:e.Size]...))
			if log, err = appendSteps(log, &e); err != nil {
				return nil, 0, err
			}
			next++
			b = b[e.Size:]
		}
	}
	return log, sum, nil
}

// appendSteps adds an entry if it is a command of the load.
func appendSteps(log []entry, e *wire.Entry) ([]entry, error) {
	if e.Type != wire.EntryCommand {
		return log, nil
	}
	_, b, err := e.Command()
	if err != nil {
		return nil, err
	}
	cmd, err := wire.ParseCommand(b)
	if err != nil {
		return nil, err
	}
	steps := []step{stepOf(&cmd)}
	if cmd.Op == wire.OpBatch {
		steps = steps[:0]
		for rest := cmd.Batch; len(rest) > 0; {
			var one wire.Command
			if one, rest, err = wire.NextBatchItem(rest); err != nil {
				return nil, err
			}
			steps = append(steps, stepOf(&one))
		}
	}
	if !strings.HasPrefix(steps[0].key, keyPrefix) {
		return log, nil
	}
	return append(log, entry{e.Index, steps}), nil
}

func stepOf(c *wire.Command) step {
	return step{key: string(c.Key), op: c.Op, mode: c.Mode, value: string(c.Value), expect: string(c.Expected)}
}

// account finds every write of a history in the log. It returns where the
// writes of unknown outcome stand, by their place in the history.
func account(history []operation, log []entry) (map[int]wire.Index, error) {
	byIndex := make(map[wire.Index]int)
	for i := range log {
		byIndex[log[i].index] = i
	}
	claimed := make([]bool, len(log))
	lost := make(map[string][]int) // unknown outcome, by what identifies a write
	for n := range history {
		o := &history[n]
		if !o.write() {
			continue
		}
		switch o.outcome {
		case unknown:
			lost[identity(o.steps)] = append(lost[identity(o.steps)], n)
		case answered:
			i, there := byIndex[o.rev]
			if !there || claimed[i] || !slices.Equal(log[i].steps, o.steps) {
				return nil, fmt.Errorf("the acknowledged write %+v is not at index %d of the log, or twice", o.steps, o.rev)
			}
			claimed[i] = true
		}
	}
	found := make(map[string][]wire.Index)
	for i, e := range log {
		if !claimed[i] {
			found[identity(e.steps)] = append(found[identity(e.steps)], e.index)
		}
	}
	places := make(map[int]wire.Index)
	for id, at := range found {
		if err := claim(history, places, lost[id], at); err != nil {
			return nil, fmt.Errorf("%w: %s", err, id)
		}
	}
	return places, nil
}

// identity tells writes apart by their unique values; deletes of one key are
// all the same.
func identity(steps []step) string {
	if s := steps[0]; s.op == wire.OpDelete && len(steps) == 1 {
		return "delete " + s.key
	}
	return fmt.Sprintf("%+v", steps)
}

// claim assigns equal entries of the log to equal writes of unknown outcome, of
// which some may not have been carried out: the ones called first, in order. If
// any assignment keeps to real time that one does, since nothing is known of the
// writes' ends.
func claim(history []operation, places map[int]wire.Index, writes []int, at []wire.Index) error {
	if len(at) > len(writes) {
		return errors.New("the log holds a write that was called failed, or one of unknown outcome twice")
	}
	slices.SortFunc(writes, func(a, b int) int { return cmp.Compare(history[a].call, history[b].call) })
	for i, index := range at {
		places[writes[i]] = index
	}
	return nil
}

// scansRight holds every scan against the state that the log says was there.
func scansRight(history []operation, log []entry) error {
	var scans []*operation
	for i := range history {
		if o := &history[i]; o.outcome == answered && !o.write() && o.rev != 0 {
			scans = append(scans, o)
		}
	}
	slices.SortFunc(scans, func(a, b *operation) int { return cmp.Compare(a.rev, b.rev) })
	state := make(map[string]content)
	for _, o := range scans {
		for len(log) > 0 && log[0].index <= o.rev {
			replay(state, log[0])
			log = log[1:]
		}
		for i, s := range o.steps {
			if got := o.results[i].it; got != state[s.key] {
				return fmt.Errorf("a scan at revision %d saw %s as %+v, the log says %+v", o.rev, s.key, got, state[s.key])
			}
		}
	}
	return nil
}

// replay carries an entry out on a state.
func replay(state map[string]content, e entry) {
	for _, s := range e.steps {
		_, state[s.key] = s.apply(state[s.key], e.index)
	}
}
