package kv

import (
	"testing"

	"github.com/dnode-engine/dnode/wire"
)

func TestCheckTellsWhatFrees(t *testing.T) {
	key, value := []byte("k"), []byte("v")
	batch := func(items ...[]byte) []byte {
		b := wire.AppendBatchHeader(nil, len(items))
		for _, it := range items {
			b = wire.AppendBatchItem(b, it)
		}
		return b
	}
	f := func(command []byte, want bool) {
		t.Helper()
		if frees, err := New().Check(command); err != nil || frees != want {
			t.Errorf("%x: frees is %v, want %v (%v)", command, frees, want, err)
		}
	}
	del, put := wire.AppendDelete(nil, key), wire.AppendPut(nil, key, value)
	f(put, false)
	f(del, true)
	f(wire.AppendCAS(nil, wire.Command{Mode: wire.CASAbsent, Key: key, Value: value}), false)
	f(batch(), true)
	f(batch(del, del), true)
	f(batch(del, put), false)
}
