package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/wire"
)

// The judge of histories passes a right one, and each single lie in it is
// noticed.
func TestJudge(t *testing.T) {
	put := func(value string) []step { return []step{{key: keyPrefix, op: wire.OpPut, value: value}} }
	get := []step{{key: keyPrefix}}
	gone := []step{{key: keyPrefix, op: wire.OpDelete}}
	one := content{value: "1", create: 5, mod: 5, version: 1}
	two := content{value: "2", create: 5, mod: 7, version: 2}
	five := content{value: "5", create: 10, mod: 10, version: 1}
	none := result{status: wire.StatusNotFound}
	right := func() ([]operation, []entry) {
		return []operation{
			{client: 0, call: 0, ret: 10, outcome: answered, steps: get, results: []result{none}},
			{client: 0, call: 20, ret: 30, outcome: answered, rev: 5, steps: put("1"), results: []result{{}}},
			{client: 1, call: 22, ret: 40, outcome: answered, steps: get, results: []result{{it: one}}},
			{client: 1, call: 50, ret: 60, outcome: unknown, steps: put("2")},
			{client: 0, call: 50, ret: 70, outcome: refused, steps: put("3")},
			{client: 0, call: 72, ret: 78, outcome: answered, steps: get, results: []result{{it: two}}},
			{client: 0, call: 80, ret: 90, outcome: answered, steps: get, results: []result{{it: two}}},
			{client: 1, call: 92, ret: 95, outcome: unknown, steps: gone},
			{client: 1, call: 100, ret: 110, outcome: unknown, steps: put("4")},
			{client: 0, call: 120, ret: 130, outcome: answered, rev: 9, steps: get, results: []result{none}},
			{client: 0, call: 140, ret: 150, outcome: answered, rev: 10, steps: put("5"), results: []result{{}}},
			{client: 1, call: 160, ret: 170, outcome: answered, steps: get, results: []result{{it: five}}},
		}, []entry{{5, put("1")}, {7, put("2")}, {8, gone}, {10, put("5")}}
	}
	f := func(want string, lie func(h []operation, log []entry) []entry) {
		t.Helper()
		history, log := right()
		log = lie(history, log)
		v, err := judge(history, log, time.Minute)
		if want == "" && (err != nil || v.operations != 11 || v.unknown != 3 || v.refused != 1 || v.inLog != 2) {
			t.Errorf("%+v, %v", v, err)
		}
		if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	history := func(lie func(h []operation)) func([]operation, []entry) []entry {
		return func(h []operation, log []entry) []entry {
			lie(h)
			return log
		}
	}
	f("", history(func([]operation) {}))
	f("is not at index 5", func(_ []operation, log []entry) []entry { return log[1:] })
	f("is not at index 6", history(func(h []operation) { h[1].rev = 6 }))
	f("is not at index 5", history(func(h []operation) { h[1].steps = put("9") }))
	f("is not at index 5", history(func(h []operation) { h[3] = h[1] }))
	f("called failed", history(func(h []operation) { h[3].outcome = refused }))
	f("called failed", history(func(h []operation) { h[7].outcome = refused }))
	f("twice", func(_ []operation, log []entry) []entry { return slices.Insert(log, 2, entry{8, put("2")}) })
	f("a scan at revision 9", history(func(h []operation) { h[9].results = []result{{it: two}} }))
	f("not linearizable", history(func(h []operation) { h[6].results = []result{{it: one}} }))
	f("not linearizable", history(func(h []operation) { h[6].results = []result{none} }))
	f("not linearizable", history(func(h []operation) { h[2].results[0].it.version = 2 }))
	f("not linearizable", history(func(h []operation) { h[0].results = []result{{it: one}} }))
	f("not linearizable", history(func(h []operation) { h[1].results[0].status = wire.StatusNotFound }))
	f("not linearizable", func(h []operation, log []entry) []entry {
		h[1].rev, log[0].index = 6, 6 // what was read says 5
		return log
	})

	h, log := right()
	if _, err := judge(h, log, 0); err == nil || errors.Is(err, errNotLinearizable) {
		t.Errorf("no time at all to check, and yet: %v", err)
	}
	if plantStale(h[:6]) || !plantStale(h) {
		t.Fatal("a read was made stale that can be, or none that can")
	}
	if _, err := judge(h, log, time.Minute); !errors.Is(err, errNotLinearizable) {
		t.Errorf("the planted read went unnoticed: %v", err)
	}
}
