package wal_test

import (
	"testing"

	"github.com/dnode-engine/dnode/wal/crashfs"
	"github.com/dnode-engine/dnode/wire"
)

func TestAppendReadReopen(t *testing.T) {
	fs := crashfs.New()
	l, rec := mustOpen(t, fs, small)
	if rec.First != 1 || rec.Last != 0 {
		t.Fatalf("new log: %+v", rec)
	}
	var m model
	for i := wire.Index(1); i <= 200; i += 5 {
		b := entries(i, i+4, wire.Term(1+i/50), int(i))
		m.append(b)
		must(t, l.Append(runs(b)))
		must(t, l.Sync())
	}
	b := entries(150, 160, 9, 300)
	m.append(b)
	must(t, l.Append(runs(b[:0], b)))
	must(t, l.Sync())
	expect(t, l, m)

	again, rec := mustOpen(t, fs.Kill(), small)
	expect(t, again, m)
	if rec.Last != 160 || rec.LastTime != 160_009 || rec.Cut != nil || len(rec.Configs) != 16 {
		t.Fatalf("recovered %+v", rec)
	}
	must(t, l.Close())
	again, rec = mustOpen(t, fs.Crash(1), small)
	expect(t, again, m)
	if rec.Last != 160 || rec.Runs[len(rec.Runs)-1] != (wire.TermRun{First: 150, Term: 9}) {
		t.Fatalf("recovered %+v", rec)
	}
	b = entries(161, 163, 9, 3000)
	m.append(b)
	must(t, again.Append(runs(b)))
	must(t, again.Sync())
	expect(t, again, m)
}
