package wire

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// bodies returns the vectors that have a decoder of their own, without frame.
func bodies(t testing.TB) []vector {
	t.Helper()
	var vs []vector
	for _, v := range vectors() {
		kind, _, _ := strings.Cut(v.name, ".")
		b := v.b
		if isFrame(kind) {
			f, err := ParseFrame(b, MaxAppendBytes)
			if err != nil {
				t.Fatalf("%s: %v", v.name, err)
			}
			b = f.Body
		}
		if kind != "result" && kind != "statusrequest" && kind != "peer" {
			vs = append(vs, vector{kind, v.name, b})
		}
	}
	return vs
}

// openEnded kinds end in bytes of any length, so that some prefixes are whole.
var openEnded = map[string]int{"write": WriteHeaderBytes, "read": 1, "reply": ReplyHeaderBytes, "scan": 6}

func TestEveryPrefixOfABodyIsRefused(t *testing.T) {
	for _, v := range bodies(t) {
		end := len(v.b)
		if n, ok := openEnded[v.name]; ok {
			end = n
		}
		for n := range end {
			if _, err := recodeBody(v.name, v.b[:n:n]); err == nil {
				t.Fatalf("%s cut to %d of %d bytes is taken", v.what, n, len(v.b))
			}
		}
	}
}

func TestBytesLeftOverAreRefused(t *testing.T) {
	for _, v := range bodies(t) {
		if _, ok := openEnded[v.name]; ok || v.name == "item" || v.name == "entry" {
			continue // these are followed by something
		}
		if _, err := recodeBody(v.name, append(bytes.Clone(v.b), 0)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s with a byte more: %v", v.what, err)
		}
	}
}

// TestNoByteIsIgnored flips every bit of every body: it must be refused or
// change what is decoded, so that encoding it again gives the flipped bytes.
func TestNoByteIsIgnored(t *testing.T) {
	for _, v := range bodies(t) {
		for i := range len(v.b) * 8 {
			b := bytes.Clone(v.b)
			b[i/8] ^= 1 << (i % 8)
			again, err := recodeBody(v.name, b)
			if v.name == "hello" && (u16(b) > Version || u16(b) < MinVersion) || v.name == "query" && len(b) > 6 && u32(b[2:]) > MaxScanKeys {
				continue // another version's hello; a limit that means the largest
			}
			if err == nil && !bytes.Equal(again, b) {
				t.Fatalf("%s: bit %d of byte %d is neither refused nor decoded", v.what, i%8, i/8)
			}
		}
	}
}

func u16(b []byte) uint16 { return uint16(b[0]) | uint16(b[1])<<8 }

func TestMessagesSurvive(t *testing.T) {
	f := func(got, want any, err error) {
		t.Helper()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v\nwant %+v\nerror %v", got, want, err)
		}
	}
	h, a, st, ms := testHello(), testAck(), testStatus(), testMembership()
	gotHello, err := ParseHello(AppendHello(nil, &h))
	f(gotHello, h, err)
	gotAck, err := ParseHelloAck(AppendHelloAck(nil, &a))
	f(gotAck, a, err)
	gotStatus, err := ParseStatus(AppendStatus(nil, &st))
	f(gotStatus, st, err)
	gotMembership, err := ParseMembership(AppendMembership(nil, &ms))
	f(gotMembership, ms, err)
	e := Error{Code: CodeNotLeader, RetryAfterMs: 1 << 31, Leader: "a:1", Text: "go to a"}
	gotError, err := ParseError(AppendError(nil, &e))
	f(gotError, &e, err)
	for _, m := range peerMessages() {
		fr, err := ParseFrame(AppendPeerFrame(nil, &m), MaxAppendBytes)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParsePeer(fr)
		if m.Type == FrameAppend {
			f(string(got.Entries), string(m.Entries), nil)
		}
		got.Entries = m.Entries
		f(got, m, err)
	}
	entry := AppendEntry(nil, EntryHead{Type: EntryConfig, Index: 3, Term: 2}, []byte("12345678"), AppendMembership(nil, &ms))
	parsed, err := ParseEntry(append(entry, "next"...))
	f(parsed.Size, len(entry), err)
	gotMembership, err = parsed.Membership()
	f(gotMembership, ms, err)
}

func TestNegotiation(t *testing.T) {
	f := func(minVersion, version, want uint16, refused Code) {
		t.Helper()
		got, err := Negotiate(&Hello{Version: version, MinVersion: minVersion})
		if got != want || (err == nil) != (refused == 0) {
			t.Errorf("%d to %d: version %d, %v", minVersion, version, got, err)
		}
		if err != nil && (err.Code != refused || !strings.Contains(err.Text, "1 to 1") || !strings.Contains(err.Text, "2 to 9")) {
			t.Errorf("%d to %d: %v does not name both ranges", minVersion, version, err)
		}
	}
	f(1, 1, 1, 0)
	f(1, 9, 1, 0)
	f(2, 9, 0, CodeVersion)
}

// TestHelloOfLaterVersions: fields added at the end are passed over, and where
// the versions do not overlap nothing else is looked at.
func TestHelloOfLaterVersions(t *testing.T) {
	f := func(minVersion, version uint16, tail []byte, good bool, name string) {
		t.Helper()
		h := testHello()
		h.Version, h.MinVersion = version, minVersion
		got, err := ParseHello(append(AppendHello(nil, &h), tail...))
		if (err == nil) != good || got.Name != name {
			t.Errorf("hello of %d to %d and %q: name %q, %v", minVersion, version, tail, got.Name, err)
		}
	}
	f(1, 1, nil, true, "n1")
	f(1, 1, []byte("more"), false, "")
	f(1, 2, []byte("more"), true, "n1")
	f(2, 2, []byte("more"), true, "")
	f(0, 1, nil, false, "")
	f(2, 1, nil, false, "")
	h, err := ParseHello([]byte{9, 0, 3, 0})
	if err != nil || h.Version != 9 || h.MinVersion != 3 {
		t.Errorf("four bytes of a later hello: %+v, %v", h, err)
	}
}

func TestCommandLimits(t *testing.T) {
	f := func(b []byte, want error) {
		t.Helper()
		if _, err := ParseCommand(b); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("command of %d bytes: %v, want %v", len(b), err, want)
		}
	}
	key, k := make([]byte, MaxKeyBytes), []byte("k")
	f(AppendPut(nil, key, nil), nil)
	f(AppendPut(nil, append(key, 0), nil), ErrTooLarge)
	f(AppendPut(nil, nil, k), ErrMalformed)
	f(AppendDelete(nil, nil), ErrMalformed)
	f(AppendPut(nil, k, make([]byte, MaxCommandBytes-8)), nil)
	f(AppendPut(nil, k, make([]byte, MaxCommandBytes-7)), ErrTooLarge)
	f(AppendDelete(nil, append(key, 0)), ErrTooLarge)
	f(AppendDelete(nil, make([]byte, 1<<16+5)), ErrMalformed) // beyond the length field
	f(AppendCAS(nil, Command{Mode: 0, Key: k, Expected: nil, Value: nil}), ErrMalformed)
	f(AppendCAS(nil, Command{Mode: 4, Key: k, Expected: nil, Value: nil}), ErrMalformed)
	f(AppendCAS(nil, Command{Mode: CASAbsent, Key: k, Expected: k, Value: nil}), ErrMalformed)
	f(AppendCAS(nil, Command{Mode: CASRevision, Key: k, Expected: k, Value: nil}), ErrMalformed)
	f(AppendCAS(nil, Command{Mode: CASValue, Key: k, Expected: nil, Value: nil}), nil)
	del := AppendDelete(nil, k)
	many := AppendBatchHeader(nil, MaxBatchOps+1)
	for range MaxBatchOps + 1 {
		many = AppendBatchItem(many, del)
	}
	f(many, ErrTooLarge)
	most := AppendBatchHeader(nil, MaxBatchOps)
	f(append(most, many[5:len(many)-4-len(del)]...), nil)
	f(encodeBatch(), nil)
	f(encodeBatch(encodeBatch(del)), ErrMalformed)
	f(encodeBatch(del, nil), ErrMalformed)
	f(encodeBatch(AppendPut(nil, append(key, 0), nil)), ErrTooLarge)
	f(AppendBatchHeader(nil, 1<<31), ErrMalformed)
	f([]byte{5}, ErrMalformed)
	f(nil, ErrMalformed)
}

func TestQueryLimits(t *testing.T) {
	f := func(b []byte, want error) {
		t.Helper()
		if _, err := ParseQuery(b); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("query of %d bytes: %v, want %v", len(b), err, want)
		}
	}
	key := make([]byte, MaxKeyBytes)
	after := append(key, 0)
	f(AppendGet(nil, key), nil)
	f(AppendGet(nil, after), ErrTooLarge)
	f(AppendGet(nil, nil), ErrMalformed)
	f(AppendScan(nil, Query{Start: after, End: after}), nil)
	f(AppendScan(nil, Query{Start: append(after, 0)}), ErrTooLarge)
	f(AppendScan(nil, Query{End: append(after, 0)}), ErrTooLarge)
	f(AppendScan(nil, Query{Flags: 4}), ErrMalformed)
	for _, limit := range []uint32{0, MaxScanKeys + 1, 1 << 31} {
		if q, err := ParseQuery(AppendScan(nil, Query{Limit: limit})); err != nil || q.Limit != MaxScanKeys {
			t.Errorf("limit %d becomes %d, %v", limit, q.Limit, err)
		}
	}
}

func TestRequestLimits(t *testing.T) {
	f := func(b []byte, want error) {
		t.Helper()
		if _, _, err := ParseWrite(b); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("write of %d bytes: %v, want %v", len(b), err, want)
		}
	}
	f(AppendWrite(nil, Stamp{}, make([]byte, MaxCommandBytes)), nil)
	f(AppendWrite(nil, Stamp{}, make([]byte, MaxCommandBytes+1)), ErrTooLarge)
	f(AppendWrite(nil, Stamp{Session: 0, Seq: 1, Acked: 0}, nil), ErrMalformed)
	f(AppendWrite(nil, Stamp{Session: 0, Seq: 0, Acked: 1}, nil), ErrMalformed)
	f(AppendWrite(nil, Stamp{Session: 1, Seq: 0, Acked: 0}, nil), ErrMalformed)
	f(AppendWrite(nil, Stamp{Session: 1, Seq: 5, Acked: 5}, nil), ErrMalformed)
	f(AppendWrite(nil, Stamp{Session: 1, Seq: 5, Acked: 4}, nil), nil)
	for c := range Consistency(10) {
		if _, _, err := ParseRead(AppendRead(nil, c, nil)); (err == nil) != (c >= Linearizable && c <= Stale) {
			t.Errorf("%v: %v", c, err)
		}
	}
	if _, err := ParseScanResult([]byte{byte(StatusOK), 0, 0x11, 0x27, 0, 0}); err == nil {
		t.Error("a page of 10,001 keys is taken")
	}
}

func TestMembershipInvariants(t *testing.T) {
	f := func(what string, good bool, change func(m *Membership)) {
		t.Helper()
		m := testMembership()
		change(&m)
		_, err := ParseMembership(AppendMembership(nil, &m))
		if (err == nil) != good || err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	f("as it is", true, func(*Membership) {})
	f("not joint", true, func(m *Membership) { m.Outgoing = nil })
	f("nobody", false, func(m *Membership) { m.Members, m.Outgoing = nil, nil })
	f("id zero", false, func(m *Membership) { m.Members[0].ID = 0 })
	f("same id", false, func(m *Membership) { m.Members[1].ID = 1 })
	f("unsorted", false, func(m *Membership) { m.Members[0], m.Members[1] = m.Members[1], m.Members[0] })
	f("id not below next", false, func(m *Membership) { m.NextID = 4 })
	f("same name", false, func(m *Membership) { m.Members[1].Name = "n1" })
	f("no name", false, func(m *Membership) { m.Members[1].Name = "" })
	f("name with a space", false, func(m *Membership) { m.Members[1].Name = "n 1" })
	f("longest name", true, func(m *Membership) { m.Members[1].Name = strings.Repeat("x", MaxNameBytes) })
	f("longer name", false, func(m *Membership) { m.Members[1].Name = strings.Repeat("x", MaxNameBytes+1) })
	f("longest address", true, func(m *Membership) { m.Members[1].PeerAddr = strings.Repeat("x", MaxAddrBytes) })
	f("longer address", false, func(m *Membership) { m.Members[1].PeerAddr = strings.Repeat("x", MaxAddrBytes+1) })
	f("no role", false, func(m *Membership) { m.Members[1].Role = 0 })
	f("unknown role", false, func(m *Membership) { m.Members[1].Role = 3 })
	f("learners only", false, func(m *Membership) { m.Members = m.Members[2:]; m.Outgoing = nil })
	f("outgoing stranger", false, func(m *Membership) { m.Outgoing = []NodeID{3} })
	f("outgoing twice", false, func(m *Membership) { m.Outgoing = []NodeID{1, 1} })
	grow := func(n int) func(m *Membership) {
		return func(m *Membership) {
			m.Members, m.Outgoing, m.NextID = nil, nil, NodeID(n+1)
			for i := range n {
				m.Members = append(m.Members, Member{ID: NodeID(i + 1), Role: Voter, Name: "n" + strings.Repeat("x", i%60) + string(rune('a'+i/60))})
			}
		}
	}
	f("as many as may be", true, grow(MaxMembers))
	f("one too many", false, grow(MaxMembers+1))
}

func TestNamesThatMembersMayHave(t *testing.T) {
	f := func(name string, want bool) {
		t.Helper()
		if ValidName(name) != want {
			t.Errorf("ValidName(%q) is %v", name, !want)
		}
	}
	f("n1", true)
	f("AZaz09._-", true)
	for c := range 256 {
		b := byte(c)
		f(string([]byte{b}), b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b == '.' || b == '_' || b == '-')
	}
	f("", false)
	f(strings.Repeat("a", MaxNameBytes), true)
	f(strings.Repeat("a", MaxNameBytes+1), false)
}

func TestLongErrorsAreCutNotRefused(t *testing.T) {
	e := Error{Code: CodeInternal, Leader: strings.Repeat("a", MaxAddrBytes+1), Text: strings.Repeat("é", MaxTextBytes)[1:]}
	got, err := ParseError(AppendError(nil, &e))
	if err != nil || got.Leader != "" || len(got.Text) != MaxTextBytes-1 || !strings.HasPrefix(e.Text, got.Text) {
		t.Fatalf("leader %q, text of %d bytes, %v", got.Leader, len(got.Text), err)
	}
}

func TestAsError(t *testing.T) {
	f := func(err error, want Code) {
		t.Helper()
		if got := AsError(err); got.Code != want {
			t.Errorf("%v becomes %v", err, got)
		}
	}
	_, malformed := ParseCommand(nil)
	_, large := ParseCommand(make([]byte, MaxCommandBytes+1))
	f(malformed, CodeBadRequest)
	f(large, CodeTooLarge)
	f(errors.New("other"), CodeInternal)
	f(errors.Join(&Error{Code: CodeBusy}), CodeBusy)
}

func TestEntriesThatAreNotWhole(t *testing.T) {
	good := AppendEntry(nil, EntryHead{Type: EntryCommand, Index: 9, Term: 2}, AppendStamp(nil, Stamp{}), []byte("command"))
	for n := range good {
		if _, err := ParseEntry(good[:n:n]); !errors.Is(err, ErrEntryShort) {
			t.Fatalf("entry cut to %d bytes: %v", n, err)
		}
	}
	for i := range len(good) * 8 {
		b := bytes.Clone(good)
		b[i/8] ^= 1 << (i % 8)
		if _, err := ParseEntry(b); err == nil {
			t.Fatalf("bit %d flipped and not found", i)
		}
	}
	for _, n := range []int{EntryHeaderBytes, 512, 4096} {
		if _, err := ParseEntry(make([]byte, n)); !errors.Is(err, ErrEntryCorrupt) {
			t.Fatalf("%d zeros: %v", n, err)
		}
	}
	largest := AppendEntry(nil, EntryHead{Type: EntryCommand, Index: 1, Term: 1}, AppendStamp(nil, Stamp{}), make([]byte, MaxCommandBytes))
	if e, err := ParseEntry(largest); err != nil || e.Size != MaxEntryBytes {
		t.Fatalf("largest entry: %d, %v", e.Size, err)
	}
	if _, err := ParseEntry(AppendEntry(nil, EntryHead{Type: EntryNoop, Index: 1, Term: 1}, nil, make([]byte, MaxEntryBytes-EntryHeaderBytes+1))); !errors.Is(err, ErrEntryCorrupt) {
		t.Fatal("an entry above the limit is taken")
	}
	f := func(typ EntryType, index Index, term Term) {
		t.Helper()
		if _, err := ParseEntry(AppendEntry(nil, EntryHead{Type: typ, Index: index, Term: term}, nil, nil)); !errors.Is(err, ErrEntryCorrupt) {
			t.Errorf("type %d, index %d, term %d: %v", typ, index, term, err)
		}
	}
	for i := 5; i < 8; i++ { // reserved, with the checksum right
		b := AppendEntry(nil, EntryHead{Type: EntryNoop, Index: 1, Term: 1}, nil, nil)
		b[i] = 1
		crc := Checksum(b[:24])
		b[24], b[25], b[26], b[27] = byte(crc), byte(crc>>8), byte(crc>>16), byte(crc>>24)
		if _, err := ParseEntry(b); !errors.Is(err, ErrEntryCorrupt) {
			t.Errorf("reserved byte %d is set: %v", i, err)
		}
	}
	f(0, 1, 1)
	f(4, 1, 1)
	f(EntryNoop, 0, 1)
	f(EntryNoop, 1, 0)
}

func TestPeerMessagesThatMakeNoSense(t *testing.T) {
	m := peerMessages()[0]
	whole := AppendPeerFrame(nil, &m)
	f := func(change func(b []byte) []byte) {
		t.Helper()
		fr, err := ParseFrame(reseal(change(bytes.Clone(whole))), MaxAppendBytes)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParsePeer(fr); !errors.Is(err, ErrMalformed) {
			t.Errorf("%+v: %v", fr, err)
		}
	}
	f(func(b []byte) []byte { b[4] = byte(FrameSnapshot); return b })
	f(func(b []byte) []byte { b[4] = byte(FrameWrite); return b })
	f(func(b []byte) []byte { b[5] = byte(FlagS2); return b })
	f(func(b []byte) []byte { clear(b[24:32]); return b })   // from nobody
	f(func(b []byte) []byte { b[24+56] = 2; return b })      // reject is 2
	f(func(b []byte) []byte { b[24+63] = 1; return b })      // reserved
	f(func(b []byte) []byte { b[0]--; return b[:len(b)-1] }) // cut short
	f(func(b []byte) []byte { b[0]++; return append(b, 0) }) // entries of a vote
}

func TestWordsOfTheCommandLine(t *testing.T) {
	f := func(got interface{ String() string }, want string) {
		t.Helper()
		if got.String() != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f(Linearizable, "linearizable")
	f(Lease, "lease")
	f(Stale, "stale")
	f(Consistency(9), "consistency 9")
	f(RoleFollower, "follower")
	f(RoleCandidate, "candidate")
	f(RoleLeader, "leader")
	f(RoleLearner, "learner")
	f(RaftRole(0), "role 0")
	f(StateOK, "ok")
	f(StateFenced, "fenced")
	f(StateNoSpace, "nospace")
	f(StateAbstaining, "abstaining")
	f(NodeState(0), "state 0")
	f(Role(0), "invalid")
	f(OpPut, "put")
	f(OpDelete, "delete")
	f(OpCAS, "cas")
	f(OpBatch, "batch")
	f(Op(0), "invalid")
	f(EntryNoop, "noop")
	f(EntryCommand, "command")
	f(EntryConfig, "config")
	f(EntryType(0), "invalid")
	f(ClientSide, "client")
	f(Voter, "voter")
	f(Learner, "learner")
	f(FrameWriteReply, "WriteReply")
	f(FrameType(50), "frame type 50")
	f(FrameType(200), "frame type 200")
	f(PeerSide, "peer")
	f(Side(0), "side 0")
	f(ReplicaID(id128(0)), "000102030405060708090a0b0c0d0e0f")
	f(ClusterID(id128(0xf0)), "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
}

func TestEntryPayloads(t *testing.T) {
	f := func(typ EntryType, payload []byte, time uint64, good bool, command string) {
		t.Helper()
		e, err := ParseEntry(AppendEntry(nil, EntryHead{Type: typ, Index: 1, Term: 1}, payload, nil))
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.Time()
		if got != time || (err == nil) != (len(payload) >= 8) {
			t.Errorf("%v of %d bytes: time %d, %v", typ, len(payload), got, err)
		}
		s, c, err := e.Command()
		if (err == nil) != good || err == nil && (string(c) != command || s != (Stamp{Time: 42, Session: 9, Seq: 5, Acked: 3})) {
			t.Errorf("%v of %d bytes: %+v %q, %v", typ, len(payload), s, c, err)
		}
	}
	f(EntryNoop, nil, 0, false, "")
	f(EntryNoop, AppendTime(nil, 42)[:7], 0, false, "")
	f(EntryNoop, AppendTime(nil, 42), 42, false, "")
	stamp := AppendStamp(nil, Stamp{Time: 42, Session: 9, Seq: 5, Acked: 3})
	f(EntryCommand, stamp[:31], 42, false, "")
	f(EntryCommand, stamp, 42, true, "")
	f(EntryCommand, append(stamp, "cmd"...), 42, true, "cmd")
}

func TestErrorsReadWell(t *testing.T) {
	f := func(e *Error, want string) {
		t.Helper()
		if e.Error() != want {
			t.Errorf("%q, want %q", e.Error(), want)
		}
	}
	f(&Error{Code: CodeNotLeader}, "not the leader")
	f(&Error{Code: CodeBusy, Text: "try later"}, "busy: try later")
	f(&Error{Code: 900}, "code 900")
}
