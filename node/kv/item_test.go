package kv

import (
	"bytes"
	"testing"

	"github.com/dnode-engine/dnode/wire"
)

// TestItemsComeBack stores items of all widths and loads and hashes them.
func TestItemsComeBack(t *testing.T) {
	numbers := []uint64{0, 1, 255, 256, 1 << 16, 1<<24 - 1, 1 << 24, 1 << 40, 1 << 56, 1<<64 - 1}
	sizes := []int{0, 1, 2, 3, 31, 32, 33, 255, 256, 4096, 65_535, 65_536, 1 << 20}
	f := func(it wire.Item) {
		t.Helper()
		b := bytes.Repeat([]byte{0xee}, headBytes+len(it.Key)+len(it.Value)+maxTailBytes+1)
		body := storeBody(b, &it)
		b = b[:storeTail(b, &it)+1]
		got := loadItem(b)
		encoded := wire.AppendItem(nil, it)
		if !bytes.Equal(got.append(nil, true), encoded) || !bytes.Equal(got.key(), it.Key) || !bytes.Equal(got.value(), it.Value) {
			t.Fatalf("stored %d %d %d with %d and %d bytes, loaded %d %d %d with %d of %d", it.CreateRevision, it.ModRevision, it.Version,
				len(it.Key), len(it.Value), got.create, got.mod, got.version, got.keyLen, len(got.body))
		}
		if want := hashWire(encoded); hashItem(&it, body) != want {
			t.Fatalf("an item with %d and %d bytes has another hash than %x", len(it.Key), len(it.Value), want)
		}
		if itemLen(b) != len(b)-1 || !bytes.Equal(loadKey(b), it.Key) || b[len(b)-1] != 0xee {
			t.Fatalf("an item of %d bytes is said to have %d", len(b)-1, itemLen(b))
		}
	}
	value := make([]byte, 1<<20)
	for i := range value {
		value[i] = byte(i * 7)
	}
	for _, mod := range numbers {
		for _, create := range numbers {
			for _, version := range numbers {
				if create <= mod {
					f(wire.Item{CreateRevision: wire.Index(create), ModRevision: wire.Index(mod), Version: version, Key: value[:8], Value: value[:256]})
				}
			}
		}
	}
	for _, k := range []int{1, 2, 33, 255, 256, 4096} {
		for _, v := range sizes {
			f(wire.Item{CreateRevision: 1, ModRevision: 1, Version: 1, Key: value[:k], Value: value[:v]})
			f(wire.Item{CreateRevision: 3, ModRevision: 300, Version: 2, Key: value[:k], Value: value[:v]})
		}
	}
}
