package main

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/dnode-engine/dnode/client"
)

// store is a put and a scan over a map; fate decides about each write.
type store struct {
	items map[string]string
	fate  func(n int) (carriedOut bool, err error)
	n     int
}

func (s *store) put(_ context.Context, key string, value []byte) (client.Revision, error) {
	s.n++
	done, err := s.fate(s.n)
	if done {
		s.items[key] = string(value)
	}
	return 0, err
}

func (s *store) scan() iter.Seq2[client.Item, error] {
	return func(yield func(client.Item, error) bool) {
		for _, k := range slices.Sorted(maps.Keys(s.items)) {
			if !yield(client.Item{Key: k, Value: []byte(s.items[k])}, nil) {
				return
			}
		}
	}
}

// filled returns a ledger of one writer after n writes over 4 keys.
func filled(n int, fate func(n int) (bool, error)) (*ledger, *store) {
	l, s := newLedger("p/", 1, 4, 30), &store{items: make(map[string]string), fate: fate}
	for range n {
		l.writers[0].write(context.Background(), s.put)
	}
	return l, s
}

func TestLedgerFindsWhatIsWrong(t *testing.T) {
	f := func(spoil func(items map[string]string), want string) {
		t.Helper()
		l, s := filled(6, func(int) (bool, error) { return true, nil })
		spoil(s.items)
		a, err := l.check(s.scan())
		if err != nil || (a.bad != 0) != (want != "") || !strings.Contains(strings.Join(a.wrong, "; "), want) {
			t.Errorf("got %+v, %v, want %q", a, err, want)
		}
	}
	l, _ := filled(0, nil)
	f(func(map[string]string) {}, "")
	f(func(m map[string]string) { delete(m, "p/0/3") }, "1 of 4 acknowledged keys of writer 0 are gone")
	f(func(m map[string]string) { m["p/0/1"] = string(l.value(0, 2)) }, "write 6 was acknowledged") // an old value
	f(func(m map[string]string) { m["p/0/3"] += "." }, `key "p/0/3" holds`)
	f(func(m map[string]string) { m["p/0/4"] = "" }, `key "p/0/4" was never written`)
	f(func(m map[string]string) { m["p/x"] = "" }, "never written")
}

// A write of unknown outcome may be there or not, and its key is left alone; a
// refused one must not be there.
func TestLedgerAllowsUnknownOutcomes(t *testing.T) {
	unknown := &client.Error{Class: client.ClassUnknown}
	for _, carriedOut := range []bool{false, true} {
		l, s := filled(11, func(n int) (bool, error) {
			if n == 2 || n == 5 {
				return carriedOut, unknown
			}
			return true, nil
		})
		a, err := l.check(s.scan())
		if err != nil || a.bad != 0 || l.unknown.Load() != 2 || l.acked.Load() != 9 {
			t.Errorf("carried out %v: %+v, %v", carriedOut, a, err)
		}
		if got := l.writers[0].slots[1]; got != (slot{unknown: 2}) {
			t.Errorf("slot 1: %+v", got)
		}
	}
	l, s := filled(3, func(n int) (bool, error) { return true, &client.Error{Class: client.ClassBusy} })
	if a, err := l.check(s.scan()); err != nil || a.bad != 3 {
		t.Errorf("refused writes that are there: %+v, %v", a, err)
	}
}

func TestLedgerEndsWhenNoKeyIsLeft(t *testing.T) {
	l, s := filled(4, func(int) (bool, error) { return true, &client.Error{Class: client.ClassUnknown} })
	if l.writers[0].write(context.Background(), s.put) {
		t.Error("wrote a key whose outcome is unknown")
	}
}
