package kv

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/dnode-engine/dnode/wire"
)

// An item lies in a slab behind its hash, with revisions as short as they are:
//
//	hash 8 │ key length 2 │ value length 3 │ shape 1 │ key │ value │ mod w │ create w │ version w
//
// The low bits of shape are w-1. freshBit: create is mod and version is 1, and
// both are left out. What varies stands last, so that a reader knows where the
// key begins before the first byte has come from memory.
const (
	freshBit = 1 << 3

	headBytes    = 2 + 3 + 1
	maxTailBytes = 3 * 8
)

// The lengths fit their fields, and the smallest item up to its first revision has
// the 8 bytes that short reads.
var (
	_ [headBytes + 1 + 1 - 8]struct{}
	_ [1<<16 - 1 - wire.MaxKeyBytes]struct{}
	_ [1<<24 - 1 - wire.MaxCommandBytes]struct{}
)

// item is one as it was stored. body is its key and value, in the slab.
type item struct {
	create, mod, version uint64
	keyLen               int
	body                 []byte
}

func (it *item) key() []byte   { return it.body[:it.keyLen:it.keyLen] }
func (it *item) value() []byte { return it.body[it.keyLen:] }

// shapeOf returns the shape of an item and the bytes of its tail.
func shapeOf(it *wire.Item) (shape byte, tail int) {
	w := (bits.Len64(max(uint64(it.ModRevision), it.Version, 1)) + 7) / 8
	if it.CreateRevision == it.ModRevision && it.Version == 1 {
		return byte(w-1) | freshBit, w
	}
	return byte(w - 1), 3 * w
}

// storeBody begins an item in b, which has room for the longest tail, and returns
// its key and value there.
func storeBody(b []byte, it *wire.Item) []byte {
	le := binary.LittleEndian
	le.PutUint16(b, uint16(len(it.Key)))
	le.PutUint32(b[2:], uint32(len(it.Value)))
	at := headBytes + copy(b[headBytes:], it.Key)
	at += copy(b[at:], it.Value)
	return b[headBytes:at:at]
}

// storeTail completes the item that storeBody began in b, and returns how long it
// is.
func storeTail(b []byte, it *wire.Item) int {
	shape, size := shapeOf(it)
	b[headBytes-1] = shape
	at := headBytes + len(it.Key) + len(it.Value)
	tail, w := b[at:at+size], int(shape&7)+1
	putShort(tail[:w], uint64(it.ModRevision))
	if shape&freshBit == 0 {
		putShort(tail[w:2*w], uint64(it.CreateRevision))
		putShort(tail[2*w:], it.Version)
	}
	return at + size
}

// lengths returns what the head of the item that begins b says.
func lengths(b []byte) (key, value int, shape byte) {
	le := binary.LittleEndian
	v := le.Uint32(b[2:])
	return int(le.Uint16(b)), int(v & (1<<24 - 1)), byte(v >> 24)
}

// loadItem returns the item that begins b. It does without branches that hang on
// what comes from memory: a scan would wait for each item in turn, and take twice
// as long.
func loadItem(b []byte) item {
	key, value, shape := lengths(b)
	end := headBytes + key + value
	w := int(shape&7) + 1
	fresh := int(shape / freshBit)
	step := w * (1 - fresh) // from one revision to the next
	at := end + w
	version := short(b[:at+2*step], w)*uint64(1-fresh) + uint64(fresh)
	return item{mod: short(b[:at], w), create: short(b[:at+step], w), version: version, keyLen: key, body: b[headBytes:end:end]}
}

// loadKey returns the key of the item that begins b.
func loadKey(b []byte) []byte {
	end := headBytes + int(binary.LittleEndian.Uint16(b))
	return b[headBytes:end:end]
}

// itemLen returns the length of the item that begins b.
func itemLen(b []byte) int {
	key, value, shape := lengths(b)
	w := int(shape&7) + 1
	if shape&freshBit == 0 {
		w *= 3
	}
	return headBytes + key + value + w
}

// append appends the item as wire.AppendItem does, without its value unless
// that is wanted.
func (it *item) append(dst []byte, value bool) []byte {
	body := it.body
	if !value {
		body = it.key()
	}
	n := len(dst)
	dst = slices.Grow(dst, wire.ItemHeaderBytes+len(body))[:n+wire.ItemHeaderBytes]
	le, head := binary.LittleEndian, dst[n:]
	le.PutUint64(head, it.create)
	le.PutUint64(head[8:], it.mod)
	le.PutUint64(head[16:], it.version)
	le.PutUint16(head[24:], uint16(it.keyLen))
	le.PutUint32(head[26:], uint32(len(body)-it.keyLen))
	return append(dst, body...)
}

// putShort writes the low bytes of v, as many as b has.
func putShort(b []byte, v uint64) {
	for i := range b {
		b[i] = byte(v)
		v >>= 8
	}
}

// short returns the number in the last n bytes of b, an item or its beginning up
// to a revision, which is 8 bytes at least. What follows the item is not read: a
// view may run while the next one dies.
func short(b []byte, n int) uint64 {
	return binary.LittleEndian.Uint64(b[len(b)-8:]) >> (64 - 8*n)
}
