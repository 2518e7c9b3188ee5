package wire

// FrameType says what a frame's body is. Requests are below 64, messages
// between members from 64 on.
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

// FrameHeaderBytes is the size of the header that starts every frame.
const FrameHeaderBytes = 24
