package sim

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/dnode-engine/dnode/wire"
)

// model says what the committed entries mean, as package wire describes it and
// with nothing of the state machine: the result of every write, and the state
// after every entry.
type model struct {
	keys    map[string]int // position in history
	sorted  []string
	history [][]version
	results [][]byte // at index-1; nil: no command
}

// version is a key's item from an index on.
type version struct {
	from wire.Index
	gone bool
	item wire.Item
}

func newModel() model { return model{keys: map[string]int{}} }

// commit takes in the next committed entry, whose bytes stay as they are.
func (m *model) commit(i wire.Index, raw []byte) error {
	e, err := wire.ParseEntry(raw)
	if err != nil {
		return fmt.Errorf("committed entry %d: %w", i, err)
	}
	m.results = append(m.results, nil)
	if e.Type != wire.EntryCommand {
		return nil
	}
	_, command, err := e.Command()
	if err != nil {
		return fmt.Errorf("committed entry %d: %w", i, err)
	}
	c, err := wire.ParseCommand(command)
	if err != nil {
		return fmt.Errorf("committed entry %d: %w", i, err)
	}
	if c.Op != wire.OpBatch {
		m.results[i-1] = m.apply(i, &c)
		return nil
	}
	result := binary.LittleEndian.AppendUint32([]byte{byte(wire.StatusOK)}, uint32(c.Count))
	for rest := c.Batch; len(rest) > 0; {
		var item wire.Command
		if item, rest, err = wire.NextBatchItem(rest); err != nil {
			return fmt.Errorf("committed entry %d: %w", i, err)
		}
		r := m.apply(i, &item)
		if wire.Status(r[0]) == wire.StatusConditionFailed {
			r = []byte{r[0], 0}
		}
		result = append(binary.LittleEndian.AppendUint32(result, uint32(len(r))), r...)
	}
	m.results[i-1] = result
	return nil
}

// apply carries out one command that is not a batch.
func (m *model) apply(i wire.Index, c *wire.Command) []byte {
	was := m.at(string(c.Key), i)
	switch {
	case c.Op == wire.OpDelete && was == nil:
		return []byte{byte(wire.StatusNotFound)}
	case c.Op == wire.OpDelete:
		m.set(c.Key, version{from: i, gone: true})
		return []byte{byte(wire.StatusOK)}
	case c.Op == wire.OpCAS && !expected(c, was) && was == nil:
		return []byte{byte(wire.StatusConditionFailed), 0}
	case c.Op == wire.OpCAS && !expected(c, was):
		return wire.AppendItem([]byte{byte(wire.StatusConditionFailed), 1}, *was)
	}
	item := wire.Item{CreateRevision: i, ModRevision: i, Version: 1, Key: c.Key, Value: c.Value}
	if was != nil {
		item.CreateRevision, item.Version = was.CreateRevision, was.Version+1
	}
	m.set(c.Key, version{from: i, item: item})
	return []byte{byte(wire.StatusOK)}
}

// expected reports whether the condition of a compare-and-set holds.
func expected(c *wire.Command, was *wire.Item) bool {
	switch {
	case c.Mode == wire.CASAbsent || was == nil:
		return c.Mode == wire.CASAbsent && was == nil
	case c.Mode == wire.CASValue:
		return bytes.Equal(c.Expected, was.Value)
	default:
		return c.Revision() == was.ModRevision
	}
}

func (m *model) set(key []byte, v version) {
	p, ok := m.keys[string(key)]
	if !ok {
		p = len(m.history)
		m.keys[string(key)] = p
		m.history = append(m.history, nil)
		at, _ := slices.BinarySearch(m.sorted, string(key))
		m.sorted = slices.Insert(m.sorted, at, string(key))
	}
	m.history[p] = append(m.history[p], v)
}

// at returns a key's item after entry i, nil if there is none.
func (m *model) at(key string, i wire.Index) *wire.Item {
	p, ok := m.keys[key]
	if !ok {
		return nil
	}
	versions := m.history[p]
	n, _ := slices.BinarySearchFunc(versions, i+1, func(v version, i wire.Index) int {
		if v.from < i {
			return -1
		}
		return 1
	})
	if n == 0 || versions[n-1].gone {
		return nil
	}
	return &versions[n-1].item
}

// read returns the result of a query after entry i.
func (m *model) read(query []byte, i wire.Index) ([]byte, error) {
	q, err := wire.ParseQuery(query)
	if err != nil || q.Op == wire.QueryScan {
		return m.scan(&q, i), err
	}
	item := m.at(string(q.Key), i)
	if item == nil {
		return []byte{byte(wire.StatusNotFound)}, nil
	}
	return wire.AppendItem([]byte{byte(wire.StatusOK)}, *item), nil
}

// scan returns a page that is not so large that its bytes end it.
func (m *model) scan(q *wire.Query, i wire.Index) []byte {
	var items, next []byte
	count := uint32(0)
	for _, key := range m.sorted {
		item := m.at(key, i)
		if item == nil || key < string(q.Start) || len(q.End) > 0 && key >= string(q.End) {
			continue
		}
		bare := *item
		bare.Value = nil
		if count == q.Limit {
			next = wire.AppendItem(nil, bare)
			break
		}
		count++
		switch {
		case q.Flags&wire.ScanCountOnly != 0:
		case q.Flags&wire.ScanKeysOnly != 0:
			items = wire.AppendItem(items, bare)
		default:
			items = wire.AppendItem(items, *item)
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
