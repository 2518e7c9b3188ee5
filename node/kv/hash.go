package kv

import (
	"encoding/binary"
	"math/bits"

	"github.com/dnode-engine/dnode/wire"
)

// Odd constants with about as many ones as zeros; any such would do. They are
// part of the replicated state hash: replicas that use others would differ.
const (
	hashSeed0 = 0x9e3779b97f4a7c15
	hashSeed1 = 0xd1b54a32d192ed03
	hashKey0  = 0x8cb92ba72f3d8dd7
	hashKey1  = 0xc2b2ae3d27d4eb4f
	hashLast  = 0xa0761d6478bd642f
)

// hashItem returns the hash of one item as wire.AppendItem encodes it, never
// zero; body is its key and value, back to back. The length goes in as well, so
// that the zero padding of the last block is told apart from content. The
// state's hash is the wrapping sum of its items' hashes.
func hashItem(it *wire.Item, body []byte) uint64 {
	n := uint64(wire.ItemHeaderBytes + len(body))
	lengths := uint64(len(it.Key)) | uint64(len(it.Value))<<16 // and the first two bytes of body
	begin := min(len(body), 2)
	for i, c := range body[:begin] {
		lengths |= uint64(c) << (48 + 8*i)
	}
	x := mix(uint64(it.CreateRevision)^hashKey0, uint64(it.ModRevision)^hashSeed0)
	y := mix(it.Version^hashKey1, lengths^hashSeed1^n)
	body = body[begin:]
	for len(body) > 32 {
		x, y = hashBlock(body[:32:32], x, y)
		body = body[32:]
	}
	if len(body) > 0 {
		var last [32]byte
		copy(last[:], body)
		x, y = hashBlock(last[:], x, y)
	}
	h := mix(mix(x^hashLast, y^n), hashKey0^n)
	return max(h, 1)
}

// hashBlock folds 32 bytes into two lanes, which run in parallel.
func hashBlock(b []byte, x, y uint64) (uint64, uint64) {
	le := binary.LittleEndian
	x = mix(le.Uint64(b)^hashKey0, le.Uint64(b[8:])^x)
	y = mix(le.Uint64(b[16:])^hashKey1, le.Uint64(b[24:])^y)
	return x, y
}

// mix multiplies to 128 bits and folds the halves: every input bit reaches
// about half of the output bits.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
