package wire

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// rules is doc.go once more, in the plainest words: what may come next on a
// connection. A Session is compared with it.
type rules struct {
	cfg      SessionConfig
	opened   int64
	phase    phase
	s2       bool
	inFlight []int // sizes of requests, in order
}

// next says how long the frame is that b begins with, zero if it is not there
// yet, or why the connection ends; and how many bytes are needed to go on.
func (r *rules) next(b []byte) (n, need int, why Code) {
	if r.phase == greeted {
		if len(b) > 0 {
			return 0, 0, CodeUnexpected
		}
		return 0, 0, 0
	}
	if len(b) < 24 {
		return 0, 24, 0
	}
	limit, before := r.cfg.MaxFrame, uint32(24)
	if r.phase == waiting {
		limit = min(limit, 4096)
	}
	if b[5]&1 != 0 {
		before += 25
	}
	size := u32(b)
	switch {
	case u32(b[20:]) != Checksum(b[:20]), b[5] > 3, b[6] != 0, b[7] != 0, b[4] == 0, size < before:
		return 0, 0, CodeBadFrame
	case size > uint32(limit):
		return 0, 0, CodeTooLarge
	}
	id := slices.ContainsFunc(b[8:16], func(b byte) bool { return b != 0 })
	if why := r.place(FrameType(b[4]), b[5], id, int(size)); why != 0 {
		return 0, 0, why
	}
	if len(b) < int(size) {
		return 0, int(size), 0
	}
	if u32(b[16:]) != Checksum(b[24:size]) {
		return 0, 0, CodeBadFrame
	}
	return int(size), 0, 0
}

// place says why such a frame may not come now, zero if it may.
func (r *rules) place(t FrameType, flags byte, id bool, size int) Code {
	client, accepts := r.cfg.Side == ClientSide, r.cfg.Accepts
	var may []FrameType
	switch {
	case r.phase == waiting && accepts:
		may = []FrameType{FrameHello}
	case r.phase == waiting:
		may = []FrameType{FrameHelloAck, FrameError}
	case client && accepts: // unknown ones too
		if t >= 64 || slices.Contains([]FrameType{1, 2, 3, 17, 19, 21}, t) {
			return CodeUnexpected
		}
		may = []FrameType{t}
	case client:
		may = []FrameType{3, 17, 19, 21}
	case accepts:
		may = []FrameType{64, 65, 66, 67, 68, 69, 70, 71}
	default:
		may = []FrameType{FrameError}
	}
	switch {
	case !slices.Contains(may, t), r.phase == waiting && (id || flags != 0), flags&2 != 0 && !r.s2:
		return CodeUnexpected
	case r.phase == waiting:
		return 0
	case client && accepts && !id, !client && accepts && id:
		return CodeUnexpected
	}
	sum := size
	for _, n := range r.inFlight {
		sum += n
	}
	if client && accepts && (len(r.inFlight) == r.cfg.Requests || sum > r.cfg.Bytes) {
		return CodeCredit
	}
	return 0
}

// took notes that a frame was taken.
func (r *rules) took(f Frame) {
	if r.phase == waiting {
		if f.Type != FrameError {
			r.phase = greeted
		}
	} else if r.cfg.Side == ClientSide && r.cfg.Accepts {
		r.inFlight = append(r.inFlight, f.Size)
	}
}

// trail is what an owner saw of one connection. What it does after each frame
// stands in acts.
type trail struct {
	t       *testing.T
	s       Session
	r       rules
	acts    []byte
	seen    []string
	failure Code
}

// feed gives the session what the owner holds and returns what is left.
func (tr *trail) feed(buf []byte) []byte {
	for {
		want, need, why := tr.r.next(buf)
		f, n, err := tr.s.Next(buf)
		if code(err) != why || (err != nil) != (why != 0) || n != want || err == nil && n == 0 && tr.r.phase != greeted && tr.s.Need() != need {
			tr.t.Fatalf("%d bytes, %v, needs %d, want %d, code %d, needs %d", n, err, tr.s.Need(), want, why, need)
		}
		if err != nil {
			if _, n, again := tr.s.Next(nil); n != 0 || !errors.Is(again, err) || tr.s.CanTellWhy() != tr.r.cfg.Accepts {
				tr.t.Fatalf("%v, and then %d, %v", err, n, again)
			}
			tr.failure = why
			return nil
		}
		if n == 0 {
			return buf
		}
		tr.seen = append(tr.seen, fmt.Sprintf("%v %x %d %x %x", f.Type, f.Flags, f.ID, f.Trace, f.Body))
		if f.Size != n || len(f.Trace)+len(f.Body)+24 != n || byte(f.Type) != buf[4] || byte(f.Flags) != buf[5] {
			tr.t.Fatalf("%d bytes taken for %+v", n, f)
		}
		tr.act(f)
		buf = buf[n:]
	}
}

// act is the owner: it opens the session and answers requests.
func (tr *trail) act(f Frame) {
	tr.r.took(f)
	var act byte
	if len(tr.acts) > 0 {
		act, tr.acts = tr.acts[0], tr.acts[1:]
	}
	switch {
	case tr.r.phase == greeted && act%4 != 3:
		tr.open(uint64(act) / 4 % 4)
	case tr.r.phase == open:
		for range min(int(act)%4, len(tr.r.inFlight)) { // not always the oldest
			i := int(act) / 4 % len(tr.r.inFlight)
			tr.s.Replied(tr.r.inFlight[i])
			tr.r.inFlight = slices.Delete(tr.r.inFlight, i, i+1)
		}
	}
	for _, after := range []int64{0, 89, 90, int64(act) << 8} {
		if late := tr.r.phase != open && after >= tr.r.cfg.HelloTimeoutNanos; tr.s.Expired(tr.r.opened+after) != late {
			tr.t.Fatalf("expired after %d: %v", after, !late)
		}
	}
	sum := 0
	for _, n := range tr.r.inFlight {
		sum += n
	}
	if n, size := tr.s.InFlight(); n != len(tr.r.inFlight) || size != sum {
		tr.t.Fatalf("%d requests, %d bytes in flight, want %d, %d", n, size, len(tr.r.inFlight), sum)
	}
}

func (tr *trail) open(features uint64) {
	tr.r.phase = open
	if !tr.r.cfg.Accepts {
		tr.s.Opened()
		return
	}
	ack := HelloAck{Version: 1, Features: features}
	tr.s.Accept(&ack)
	tr.r.s2 = tr.r.cfg.Side == PeerSide && features&FeatureS2 != 0
	want := HelloAck{Version: 1, Features: features, MaxFrame: uint32(tr.r.cfg.MaxFrame)}
	if tr.r.cfg.Side == ClientSide {
		want.Requests, want.Bytes = uint32(tr.r.cfg.Requests), uint32(tr.r.cfg.Bytes)
	}
	if ack != want {
		tr.t.Fatalf("granted %+v, want %+v", ack, want)
	}
}

// FuzzSession plays a script to a session: what it takes, refuses and counts is
// compared with the rules, with the stream whole, and again with it cut up at
// random into a buffer that is overwritten between reads.
func FuzzSession(f *testing.F) {
	hello := []byte{1, 0, 0, 56, 0, 0}
	add := func(config byte, acts []byte, frames ...[]byte) {
		f.Add(slices.Concat(frames...), uint64(len(acts)), acts, config)
	}
	plain := func(typ, flags, id, size byte) []byte { return []byte{typ, flags, id, size, 0, 0} }
	add(1, []byte{0, 1}, hello, plain(16, 0, 1, 40), plain(18, 0, 2, 9), plain(50, 1, 3, 60))
	add(1, nil, hello, plain(16, 0, 1, 176), plain(18, 0, 2, 176), plain(20, 0, 3, 176), plain(20, 0, 4, 0)) // all the credit
	add(1, nil, hello, plain(16, 0, 1, 176), plain(18, 0, 2, 176), plain(20, 0, 3, 177))
	add(1, []byte{0, 0, 6}, hello, plain(16, 0, 0, 40))
	add(1, []byte{255}, hello, plain(0, 0, 0, 0))
	add(0, []byte{0}, plain(2, 0, 0, 70), plain(17, 0, 1, 9), plain(3, 0, 0, 9), plain(19, 2, 1, 9))
	add(0, nil, plain(3, 0, 0, 9), plain(3, 0, 0, 9))
	add(2, []byte{0}, plain(2, 0, 0, 70), plain(3, 0, 0, 9), plain(68, 0, 0, 9))
	add(7, []byte{4}, hello, plain(68, 2, 0, 200), plain(70, 0, 0, 64), plain(68, 0, 1, 64))
	for tamper := range byte(8) {
		for _, typ := range []byte{16, 18, 20, 50} {
			add(5, []byte{0, 1}, hello, []byte{typ, tamper % 2, 1, 40, tamper, 30 * typ})
		}
	}
	f.Fuzz(func(t *testing.T, script []byte, cuts uint64, acts []byte, config byte) {
		cfg := SessionConfig{Side: ClientSide, Accepts: config&1 != 0, Requests: 3, Bytes: 600, MaxFrame: 256, HelloTimeoutNanos: 90}
		if config&2 != 0 {
			cfg.Side = PeerSide
		}
		if config&4 != 0 {
			cfg.Bytes, cfg.MaxFrame = 9000, 5000
		}
		newTrail := func() *trail {
			return &trail{t: t, s: NewSession(cfg, 1000), r: rules{cfg: cfg, opened: 1000}, acts: acts}
		}
		stream := play(script)
		whole := newTrail()
		rest := whole.feed(bytes.Clone(stream))

		cut := newTrail()
		rng := rand.New(rand.NewPCG(cuts, 1))
		var left []byte
		for len(stream) > 0 && cut.failure == 0 {
			n := min(1+rng.IntN(40)*rng.IntN(40), len(stream))
			buf := append(bytes.Clone(left), stream[:n]...)
			left = bytes.Clone(cut.feed(buf))
			for i := range buf {
				buf[i] = 0xdb // whoever still looks at it will notice
			}
			stream = stream[n:]
		}
		if fmt.Sprint(whole.seen) != fmt.Sprint(cut.seen) || whole.failure != cut.failure {
			t.Fatalf("whole: %q, code %d\ncut up: %q, code %d", whole.seen, whole.failure, cut.seen, cut.failure)
		}
		if cut.failure == 0 && !bytes.Equal(rest, left) {
			t.Fatalf("%d bytes are left of the whole stream, %d of the one cut up", len(rest), len(left))
		}
	})
}

// play turns a script into a stream: six bytes give a frame's type, flags, id,
// body size, and how it is tampered with, and the rest is taken as it is.
func play(script []byte) []byte {
	var stream []byte
	for ; len(script) >= 6; script = script[6:] {
		size, tamper, arg := int(script[3]), script[4], script[5]
		if tamper%8 == 1 {
			size *= 22 // beyond what a hello may have
		}
		b := AppendFrame(nil, FrameType(script[0]), uint64(script[2])<<(arg%57), make([]byte, size))
		b[5] = script[1]
		reseal(b)
		switch tamper % 8 {
		case 2: // damage
			b[int(arg)%len(b)] ^= 1 << (tamper / 8 % 8)
		case 3: // another length
			b[arg%4] ^= 1 << (tamper / 8 % 8)
			reseal(b)
		case 4: // reserved bits
			b[6+arg%2] = tamper / 8
			reseal(b)
		case 5: // cut short
			b = b[:int(arg)%len(b)]
		case 6: // something in between
			b = append(b, arg)
		}
		stream = append(stream, b...)
	}
	return append(stream, script...)
}
