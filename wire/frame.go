package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// FrameType says what a frame's body is. Requests and replies are below 64,
// messages between members from 64 on.
type FrameType uint8

// The frame types. Zero is invalid.
const (
	FrameHello    FrameType = 1
	FrameHelloAck FrameType = 2
	FrameError    FrameType = 3

	FrameWrite       FrameType = 16
	FrameWriteReply  FrameType = 17
	FrameRead        FrameType = 18
	FrameReadReply   FrameType = 19
	FrameStatus      FrameType = 20
	FrameStatusReply FrameType = 21

	FramePreVote      FrameType = 64
	FramePreVoteReply FrameType = 65
	FrameVote         FrameType = 66
	FrameVoteReply    FrameType = 67
	FrameAppend       FrameType = 68
	FrameAppendReply  FrameType = 69
	FrameRound        FrameType = 70
	FrameRoundReply   FrameType = 71
	FrameSnapshot     FrameType = 72 // reserved
	FrameTimeoutNow   FrameType = 73 // reserved
)

// String names the type as doc.go does.
func (t FrameType) String() string {
	if int(t) < len(frameNames) && frameNames[t] != "" {
		return frameNames[t]
	}
	return fmt.Sprintf("frame type %d", uint8(t))
}

var frameNames = [...]string{
	FrameHello: "Hello", FrameHelloAck: "HelloAck", FrameError: "Error",
	FrameWrite: "Write", FrameWriteReply: "WriteReply", FrameRead: "Read", FrameReadReply: "ReadReply",
	FrameStatus: "Status", FrameStatusReply: "StatusReply",
	FramePreVote: "PreVote", FramePreVoteReply: "PreVoteReply", FrameVote: "Vote", FrameVoteReply: "VoteReply",
	FrameAppend: "Append", FrameAppendReply: "AppendReply", FrameRound: "Round", FrameRoundReply: "RoundReply",
	FrameSnapshot: "Snapshot", FrameTimeoutNow: "TimeoutNow",
}

// Sizes of a frame's fixed parts.
const (
	FrameHeaderBytes = 24 // the header that starts every frame
	TraceBytes       = 25 // the trace context that FlagTrace announces
)

// Flags change how a frame's body is to be read. Unknown flags are refused.
type Flags uint8

// The flags.
const (
	FlagTrace Flags = 1 // TraceBytes of trace context precede the body
	FlagS2    Flags = 2 // the body is S2-compressed: peers only, by FeatureS2
)

// Trace is a trace context: trace id (16 bytes), span id (8), flags (1), as in
// the W3C recommendation "Trace Context".
type Trace [TraceBytes]byte

// Frame is a view of one frame. Trace and Body alias the bytes it was parsed
// from, are valid only as long as those, and must not be written to.
type Frame struct {
	Type  FrameType
	Flags Flags
	ID    uint64
	Trace []byte // TraceBytes long with FlagTrace, otherwise nil
	Body  []byte // what follows the header and the trace context
	Size  int    // of the whole frame, header included
}

// ErrShortFrame says that the frame's end has not been read yet: call again
// with more bytes. Nothing is wrong so far.
var ErrShortFrame = errors.New("frame is cut short")

// BeginFrame appends a header whose length and checksums are still zero. The
// body is appended next, and EndFrame completes the frame.
func BeginFrame(dst []byte, t FrameType, id uint64) []byte {
	dst = append(dst, 0, 0, 0, 0, byte(t), 0, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, id)
	return append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
}

// BeginTracedFrame is BeginFrame with a trace context.
func BeginTracedFrame(dst []byte, t FrameType, id uint64, trace *Trace) []byte {
	start := len(dst)
	dst = BeginFrame(dst, t, id)
	dst[start+5] = byte(FlagTrace)
	return append(dst, trace[:]...)
}

// EndFrame completes the frame that ends at the end of dst and whose header
// was begun at offset start: it fills in the length and both checksums.
func EndFrame(dst []byte, start int) []byte {
	b := dst[start:]
	if len(b) < FrameHeaderBytes || len(b) > math.MaxInt32 {
		panic(fmt.Sprintf("BUG: frame of %d bytes begun at offset %d", len(b), start))
	}
	le := binary.LittleEndian
	le.PutUint32(b, uint32(len(b)))
	le.PutUint32(b[16:], Checksum(b[FrameHeaderBytes:]))
	le.PutUint32(b[20:], Checksum(b[:20]))
	return dst
}

// AppendFrame appends a whole frame. It keeps neither slice.
func AppendFrame(dst []byte, t FrameType, id uint64, body []byte) []byte {
	start := len(dst)
	dst = BeginFrame(dst, t, id)
	return EndFrame(append(dst, body...), start)
}

// ParseHeader checks the header that b starts with and returns the frame
// without trace context and body, so that the size of the frame is known
// before any of it is buffered. maxBytes bounds the whole frame. The error is
// ErrShortFrame if b is shorter than a header, otherwise an *Error with
// CodeBadFrame or CodeTooLarge, which is fatal to the connection: where the
// next frame would begin is not known, or is too far away to be skipped.
func ParseHeader(b []byte, maxBytes int) (Frame, error) {
	if len(b) < FrameHeaderBytes {
		return Frame{}, ErrShortFrame
	}
	le := binary.LittleEndian
	if got, want := le.Uint32(b[20:]), crc32.Checksum(b[:20], Castagnoli); got != want {
		return Frame{}, badFrame("header checksum is %08x, content has %08x: this port speaks the dnode protocol only", got, want)
	}
	f := Frame{Type: FrameType(b[4]), Flags: Flags(b[5]), ID: le.Uint64(b[8:])}
	size := int64(le.Uint32(b))
	least := int64(FrameHeaderBytes)
	if f.Flags&FlagTrace != 0 {
		least += TraceBytes
	}
	switch {
	case f.Flags&^(FlagTrace|FlagS2) != 0 || b[6]|b[7] != 0:
		return Frame{}, badFrame("reserved bits are set: flags %#02x, reserved %#02x%02x", b[5], b[7], b[6])
	case f.Type == 0:
		return Frame{}, badFrame("frame type is zero")
	case size < least:
		return Frame{}, badFrame("length %d is less than the %d bytes before the body", size, least)
	case size > int64(maxBytes):
		return f, &Error{Code: CodeTooLarge, Text: fmt.Sprintf("%v frame of %d bytes, at most %d are allowed here", f.Type, size, maxBytes)}
	}
	f.Size = int(size)
	return f, nil
}

// ParseFrame checks and returns the first frame of b, which may be followed by
// others. The errors are those of ParseHeader, ErrShortFrame also when the
// body is not there yet, CodeBadFrame also when its checksum is wrong. It
// allocates nothing unless it fails for good.
func ParseFrame(b []byte, maxBytes int) (Frame, error) {
	f, err := ParseHeader(b, maxBytes)
	if err != nil {
		return f, err
	}
	if len(b) < f.Size {
		return f, ErrShortFrame
	}
	return f.withBody(b)
}

// withBody completes a frame whose header was checked with the trace context
// and body from b, which holds the whole frame, and checks them.
func (f Frame) withBody(b []byte) (Frame, error) {
	body := b[FrameHeaderBytes:f.Size:f.Size]
	if got, want := binary.LittleEndian.Uint32(b[16:]), crc32.Checksum(body, Castagnoli); got != want {
		return Frame{}, badFrame("body checksum of a %v frame is %08x, content has %08x", f.Type, got, want)
	}
	if f.Flags&FlagTrace != 0 {
		f.Trace, body = body[:TraceBytes:TraceBytes], body[TraceBytes:]
	}
	f.Body = body
	return f, nil
}

func badFrame(format string, args ...any) *Error {
	return &Error{Code: CodeBadFrame, Text: fmt.Sprintf(format, args...)}
}
