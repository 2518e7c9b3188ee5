package crashfs

import (
	"fmt"
	"slices"
	"strings"
)

// Op is a kind of operation.
type Op uint8

// The operations that are counted and can fail.
const (
	OpCreate Op = iota
	OpOpen
	OpRename // by the new name
	OpRemove
	OpList
	OpSyncDir
	OpMkdir
	OpRead
	OpWrite
	OpSync
	opCount
)

func (o Op) String() string {
	return [...]string{"create", "open", "rename", "remove", "list", "syncdir", "mkdir", "read", "write", "sync", "?"}[min(o, opCount)]
}

// Event is one operation as it begins.
type Event struct {
	N    int // from 1 on
	Op   Op
	Name string
	Len  int // of a write
}

func (e Event) String() string { return fmt.Sprintf("%d %s %s", e.N, e.Op, e.Name) }

// Rule makes operations fail.
type Rule struct {
	Op    Op
	Name  string // suffix of the name; empty: any
	Skip  int    // matching operations that pass first
	Times int    // how many fail then; zero: one; negative: all
	Err   error  // nil with Short: a short write without an error
	Short int    // OpWrite: bytes that are written all the same
}

func (r *Rule) matches(op Op, name string) bool {
	return r.Op == op && strings.HasSuffix(name, r.Name)
}

// Inject adds a rule. Rules are asked in the order they were added.
func (s *FS) Inject(r Rule) {
	if r.Times == 0 {
		r.Times = 1
	}
	s.rules = append(s.rules, r)
}

// ClearRules forgets all rules.
func (s *FS) ClearRules() { s.rules = nil }

// SetQuota limits the bytes of all files together; zero lifts the limit. A
// write over it writes what fits and returns wal.ErrNoSpace.
func (s *FS) SetQuota(sizeBytes int64) { s.quota = sizeBytes }

// Used returns the bytes of all files together.
func (s *FS) Used() int64 { return s.used }

// Lie makes Sync and SyncDir report success and do nothing.
func (s *FS) Lie(lie bool) { s.lying = lie }

// StopAt cuts the power before operation n, counted as in Event.N: it and all
// later ones return ErrStopped and do nothing. Zero: never.
func (s *FS) StopAt(n int) { s.stopAt = n }

// Ops returns how many operations were begun.
func (s *FS) Ops() int { return s.ops }

// Count returns how many operations of one kind were begun.
func (s *FS) Count(op Op) int { return s.counts[op] }

// SetTrace has f called with every operation before it is carried out.
func (s *FS) SetTrace(f func(Event)) { s.trace = f }

// step counts an operation and asks the rules.
func (s *FS) step(op Op, name string) error {
	rule, err := s.begin(Event{Op: op, Name: name})
	if err == nil && rule != nil {
		err = rule.Err
	}
	return err
}

// stepWrite is step for a write; it also says how many bytes to write.
func (s *FS) stepWrite(name string, n int) (limit int, err error) {
	rule, err := s.begin(Event{Op: OpWrite, Name: name, Len: n})
	if err != nil {
		return 0, err
	}
	if rule != nil {
		return min(rule.Short, n), rule.Err
	}
	return n, nil
}

func (s *FS) begin(e Event) (*Rule, error) {
	if s.stopAt > 0 && s.ops+1 >= s.stopAt {
		return nil, ErrStopped
	}
	s.ops++
	s.counts[e.Op]++
	if s.trace != nil {
		e.N = s.ops
		s.trace(e)
	}
	for i := range s.rules {
		r := &s.rules[i]
		if !r.matches(e.Op, e.Name) {
			continue
		}
		if r.Skip > 0 {
			r.Skip--
			continue
		}
		hit := *r
		if r.Times--; r.Times == 0 {
			s.rules = slices.Delete(s.rules, i, i+1)
		}
		return &hit, nil
	}
	return nil, nil
}
