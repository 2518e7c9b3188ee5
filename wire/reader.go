package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed is wrapped by every decoding error of a message body.
var ErrMalformed = errors.New("malformed message")

// Reader takes fixed fields from the front of a body. Every read is checked
// against what is left; the first failure sticks, later reads return zero
// values, and Finish reports it. Bytes returned alias the body.
type Reader struct {
	b   []byte
	err error
}

// NewReader returns a reader over b, which must stay unchanged while what was
// read from it is in use.
func NewReader(b []byte) Reader { return Reader{b: b} }

// Fail makes the reader fail with the given reason unless it already has.
func (r *Reader) Fail(reason string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrMalformed, reason)
	}
	r.b = nil
}

// Bytes takes n bytes. The result aliases the body and must not be appended to.
func (r *Reader) Bytes(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.Fail("cut short")
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// Rest takes everything that is left.
func (r *Reader) Rest() []byte { return r.Bytes(len(r.b)) }

// U8 takes one byte.
func (r *Reader) U8() uint8 {
	if len(r.b) < 1 {
		r.Fail("cut short")
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

// zeros takes n reserved bytes and reports whether all are zero.
func (r *Reader) zeros(n int) bool {
	var or byte
	for _, b := range r.Bytes(n) {
		or |= b
	}
	return or == 0
}

// U16 takes a 16-bit integer.
func (r *Reader) U16() uint16 {
	if len(r.b) < 2 {
		r.Fail("cut short")
		return 0
	}
	v := binary.LittleEndian.Uint16(r.b)
	r.b = r.b[2:]
	return v
}

// U32 takes a 32-bit integer.
func (r *Reader) U32() uint32 {
	if len(r.b) < 4 {
		r.Fail("cut short")
		return 0
	}
	v := binary.LittleEndian.Uint32(r.b)
	r.b = r.b[4:]
	return v
}

// U64 takes a 64-bit integer.
func (r *Reader) U64() uint64 {
	if len(r.b) < 8 {
		r.Fail("cut short")
		return 0
	}
	v := binary.LittleEndian.Uint64(r.b)
	r.b = r.b[8:]
	return v
}

// Text takes a 16-bit length and that many bytes, at most limit.
func (r *Reader) Text(limit int) string {
	n := int(r.U16())
	if n > limit {
		r.Fail("text is too long")
		return ""
	}
	return string(r.Bytes(n))
}

// Count takes a 32-bit count of elements of at least elemSize bytes each, so
// that no more can be announced than the body could hold.
func (r *Reader) Count(elemSize int) int {
	n := int64(r.U32())
	if n*int64(elemSize) > int64(len(r.b)) {
		r.Fail("count exceeds the body")
		return 0
	}
	return int(n)
}

// flag takes one byte that is 0 or 1.
func (r *Reader) flag() bool {
	v := r.U8()
	if v > 1 {
		r.Fail("flag is neither 0 nor 1")
	}
	return v == 1
}

// id takes a 128-bit identifier.
func (r *Reader) id() (id [16]byte) {
	copy(id[:], r.Bytes(len(id)))
	return id
}

// Err returns the first failure.
func (r *Reader) Err() error { return r.err }

// Finish returns the first failure, or an error if bytes are left over.
func (r *Reader) Finish() error {
	if r.err == nil && len(r.b) > 0 {
		r.err = fmt.Errorf("%w: %d bytes left over", ErrMalformed, len(r.b))
	}
	return r.err
}

// appendText appends a text behind its 16-bit length, for Reader.Text. Texts
// are bounded where they are configured.
func appendText(dst []byte, s string) []byte {
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}
