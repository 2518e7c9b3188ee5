package sim

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// TestCorpus runs again what was once found by seeds (tools/simfarm keeps it). The
// generator of options changes, and with it what a seed does: a corpus holds the
// options themselves, with the faults that were needed.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/corpus/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var f Found
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if err := d.Decode(&f); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		stats, err := Run(f.Options)
		if err != nil {
			t.Errorf("%s: %v\nwhen it was found: %s", name, err, f.Error)
		}
		if f.Options.Replay && stats.Struck() == 0 {
			t.Errorf("%s: none of its %d faults struck", name, len(f.Options.Faults))
		}
	}
}

// Options come back from a corpus as they were written.
func TestOptionsAsText(t *testing.T) {
	want := Swarm(5)
	want.Replay = true
	for k := range FaultKinds {
		want.Faults = append(want.Faults, Fault{At: 1, Kind: k, Links: link(1, 2), Seed: 1<<64 - 1})
	}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Options
	if err := json.Unmarshal(b, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n%+v\n%+v", err, got, want)
	}
	if err := json.Unmarshal([]byte(`{"Faults":[{"Kind":"?"}]}`), &got); err == nil {
		t.Error("a fault of an unknown kind was taken")
	}
}

// Add forgets no field.
func TestStatsAdd(t *testing.T) {
	var one, sum Stats
	ones(reflect.ValueOf(&one).Elem())
	sum.Add(&one)
	one.Hash = 0
	if sum != one {
		t.Errorf("%+v", sum)
	}
}

func ones(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for _, field := range v.Fields() {
			ones(field)
		}
	case reflect.Array:
		for i := range v.Len() {
			ones(v.Index(i))
		}
	default:
		v.Set(reflect.ValueOf(1).Convert(v.Type()))
	}
}
