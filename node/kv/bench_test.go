package kv

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/wire"
)

const benchKeys = 1_000_000

// key8 spreads i over 8-byte keys, without collisions.
func key8(dst []byte, i uint64) []byte {
	return binary.BigEndian.AppendUint64(dst, i*0x9e3779b97f4a7c15)
}

// benchStore has n keys of 8 bytes with values of 256.
func benchStore(n int) *Store {
	s := New()
	value := make([]byte, 256)
	var key, cmd, dst []byte
	for i := range n {
		key = key8(key[:0], uint64(i))
		cmd = wire.AppendPut(cmd[:0], key, value)
		dst = s.Apply(s.last+1, cmd, dst[:0])
	}
	return s
}

func heapNow() (bytes, objects uint64) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc, m.HeapObjects
}

// BenchmarkMillion states what 1 M keys with values of 256 bytes cost.
func BenchmarkMillion(b *testing.B) {
	bytes0, objects0 := heapNow()
	s := benchStore(benchKeys)
	bytes1, objects1 := heapNow()
	start := time.Now()
	runtime.GC()
	gc := time.Since(start)
	rnd := rand.New(rand.NewPCG(1, 2))
	value := make([]byte, 256)
	var key, cmd, dst []byte
	b.Run("put", func(b *testing.B) {
		b.ReportAllocs()
		var worst time.Duration
		for b.Loop() {
			key = key8(key[:0], rnd.Uint64N(benchKeys))
			cmd = wire.AppendPut(cmd[:0], key, value)
			t := time.Now()
			dst = s.Apply(s.last+1, cmd, dst[:0])
			worst = max(worst, time.Since(t))
		}
		b.ReportMetric(float64(bytes1-bytes0)/1e6, "MB")
		b.ReportMetric(float64(objects1-objects0), "objects")
		b.ReportMetric(float64(gc.Microseconds()), "gc-us")
		b.ReportMetric(float64(worst.Microseconds()), "worst-us")
		b.ReportMetric(float64(s.Memory())/float64(s.Bytes()), "slabs/live")
	})
	b.Run("get", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			key = key8(key[:0], rnd.Uint64N(benchKeys))
			cmd = wire.AppendGet(cmd[:0], key)
			dst, _ = s.Read(cmd, dst[:0])
		}
	})
	b.Run("scan100", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			key = key8(key[:0], rnd.Uint64N(benchKeys))
			cmd = wire.AppendScan(cmd[:0], wire.Query{Start: key, Limit: 100})
			dst, _ = s.Read(cmd, dst[:0])
		}
	})
}

func BenchmarkHash(b *testing.B) {
	for _, n := range []int{46, 294, 4096} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			body := make([]byte, n-wire.ItemHeaderBytes)
			it := wire.Item{Version: 1, Key: body[:8], Value: body[8:]}
			b.SetBytes(int64(n))
			for b.Loop() {
				it.ModRevision = wire.Index(hashItem(&it, body))
			}
		})
	}
}
