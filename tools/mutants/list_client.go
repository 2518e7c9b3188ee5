package main

const (
	retryGo       = "client/retry.go"
	clientConnGo  = "client/conn.go"
	clientGo      = "client/client.go"
	clientNodeGo  = "client/node.go"
	clientWriteGo = "client/write.go"
	resultGo      = "client/result.go"
	sessionGo     = "wire/session.go"
	frameGo       = "wire/frame.go"
	entryGo       = "wire/entry.go"
)

// clientMutants break what a client makes of what it sees, and what a node takes
// from the wire.
var clientMutants = []mutant{
	{
		name: "retry-unknown", class: "C8", by: "client", breaks: "a write that may have been carried out is sent again",
		edits: []edit{{retryGo, `if a.Write && maybe && !a.Idempotent {`, `if a.Write && maybe && !a.Idempotent && a.Final {`}},
	},
	{
		name: "lost-is-failed", class: "C8", by: "client", breaks: "a write whose connection died counts as not carried out",
		edits: []edit{{retryGo, `	case StageNotSent:
		return false
	case StageAnswered:`, `	case StageNotSent, StageLost:
		return false
	case StageAnswered:`}},
	},
	{
		name: "doubt-forgotten", class: "C8", by: "client", breaks: "a later refusal takes back that an earlier attempt may have been carried out",
		edits: []edit{{retryGo, `maybe := a.Maybe || a.mayBeCarriedOut()`, `maybe := a.mayBeCarriedOut()`}},
	},
	{
		name: "unknown-is-failed", class: "C8", by: "client", breaks: "an unknown outcome is reported as a failure",
		edits: []edit{{retryGo, `	if a.Write && maybe && !a.Idempotent {
		return Decision{Action: Unknown, Class: ClassUnknown,`, `	if a.Write && maybe && !a.Idempotent {
		return Decision{Action: Fail, Class: ClassUnavailable,`}},
	},
	{
		name: "last-frame-unsent", class: "C8", by: "client", breaks: "of what was written before a connection died the last request counts as not sent",
		edits: []edit{{clientNodeGo, `if s.end > k.taken {`, `if s.end >= k.taken {`}},
	},
	{
		name: "broken-write-unsent", class: "C8", by: "client", breaks: "requests that left before a write broke count as not sent",
		edits: []edit{{clientWriteGo, `k.taken -= uint64(len(out) - n)`, `k.taken -= uint64(max(len(out), n))`}},
	},
	{
		name: "unwritten-is-failed", class: "C8", by: "client", breaks: "a write that is about to be sent counts as not sent when its caller gives up",
		edits: []edit{{clientGo, `if s := &k.slots[q.slot]; !c.closed || s.end <= k.taken {`, `if s := &k.slots[q.slot]; s.end <= k.taken {`}},
	},
	{
		name: "nonsense-is-failed", class: "C8", by: "client", breaks: "an asynchronous write whose answer makes no sense is reported as a failure",
		edits: []edit{{resultGo, "	if c.write() {\n		class", "	if c.write() && c.sync {\n		class"}},
	},
	{
		name: "answers-by-slot", class: "C9", by: "client", breaks: "an answer to an earlier user of a slot is taken for one to the present",
		edits: []edit{{clientConnGo, `if !s.used || s.generation != generation {`, `if !s.used || generation == 0 {`}},
	},
	{
		name: "answer-type-unchecked", class: "C9", by: "client", breaks: "an answer of another type is taken",
		edits: []edit{{clientConnGo, `	if f.Type != wire.FrameError && f.Type != s.frame+1 {
		return violation("answer of type %d to a request of type %d", f.Type, s.frame)
	}
`, ``}},
	},
	{
		name: "limit-after-hello", class: "W9", by: "wire", breaks: "before its hello a connection may announce a frame of any size",
		edits: []edit{{sessionGo, `		return min(MaxHelloBytes, s.cfg.MaxFrame)
`, `		return s.cfg.MaxFrame
`}},
	},
	{
		name: "body-unchecked", class: "own", by: "wire", breaks: "the checksum of a frame's body is not compared",
		edits: []edit{{frameGo, `crc32.Checksum(body, Castagnoli); got != want {`, `crc32.Checksum(body, Castagnoli); got != want && f.Size < 0 {`}},
	},
	{
		name: "entry-unchecked", class: "W2", by: "wire", breaks: "the checksum of an entry is not compared",
		edits: []edit{{entryGo, `if got := le.Uint32(b[24:]); got != crc {`, `if got := le.Uint32(b[24:]); got != crc && size < 0 {`}},
	},
}
