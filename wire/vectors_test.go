package wire

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata/vectors.txt")

const vectorsFile = "testdata/vectors.txt"

// vector is one message of the specification with its bytes.
type vector struct {
	name string // kind, a dot, and which of them
	what string
	b    []byte
}

func id128(first byte) (id [16]byte) {
	for i := range id {
		id[i] = first + byte(i)
	}
	return id
}

func testHello() Hello {
	return Hello{
		Version: 1, MinVersion: 1, Side: PeerSide, Features: FeatureS2, Cluster: id128(0x10), Replica: id128(0x30),
		Name: "n1", To: "n2", PeerAddr: "127.0.0.1:7401", ClientAddr: "127.0.0.1:7400", Bootstrap: 0x1122334455667788,
	}
}

func testAck() HelloAck {
	return HelloAck{
		Version: 1, Features: FeatureS2, Cluster: id128(0x10), Name: "n2", Replica: id128(0x50),
		ClientAddr: "127.0.0.1:7410", Member: true, MaxFrame: MaxAppendBytes,
	}
}

func testMembers() []Member {
	return []Member{
		{ID: 1, Name: "n1", Replica: id128(0x30), Role: Voter, PeerAddr: "127.0.0.1:7401", ClientAddr: "127.0.0.1:7400"},
		{ID: 2, Name: "n2", Replica: id128(0x50), Role: Voter, PeerAddr: "127.0.0.1:7411"},
		{ID: 4, Name: "n-4", Replica: id128(0x70), Role: Learner, PeerAddr: "[::1]:7421", ClientAddr: "[::1]:7420"},
	}
}

func testMembership() Membership {
	return Membership{Cluster: id128(0x10), Level: 1, NextID: 5, Members: testMembers(), Outgoing: []NodeID{1, 4}}
}

func testStatus() NodeStatus {
	return NodeStatus{
		Name: "n1", ID: 1, Role: RoleLeader, State: StateOK, Term: 7, Leader: 1, Commit: 100, Applied: 99, Last: 101,
		Hash: 0xfeedfacecafebeef, Cluster: id128(0x10), Members: testMembers(),
	}
}

func testItem() Item {
	return Item{CreateRevision: 3, ModRevision: 9, Version: 2, Key: []byte("k"), Value: []byte("v1")}
}

func testEntries() []byte {
	b := AppendEntry(nil, EntryHead{Type: EntryNoop, Index: 11, Term: 5}, []byte{1, 0, 0, 0, 0, 0, 0, 0}, nil)
	return AppendEntry(b, EntryHead{Type: EntryCommand, Index: 12, Term: 5}, AppendStamp(nil, Stamp{Time: 2}), AppendPut(nil, []byte("k"), []byte("v1")))
}

func vectors() []vector {
	var vs []vector
	add := func(name, what string, b []byte) { vs = append(vs, vector{name, what, b}) }
	frame := func(name, what string, t FrameType, id uint64, body []byte) {
		add(name, what, AppendFrame(nil, t, id, body))
	}

	h, a := testHello(), testAck()
	frame("hello.member", "Hello of member n1 to n2: versions 1 to 1, feature 1, bootstrap 0x1122334455667788", FrameHello, 0, AppendHello(nil, &h))
	ch := Hello{Version: 1, MinVersion: 1, Side: ClientSide, Name: "ex"}
	frame("hello.client", "Hello of a client that calls itself ex", FrameHello, 0, AppendHello(nil, &ch))
	frame("ack.member", "HelloAck of n2, which knows n1: feature 1, frames of 4 MiB", FrameHelloAck, 0, AppendHelloAck(nil, &a))
	ca := HelloAck{
		Version: 1, Cluster: id128(0x10), Name: "n1", Replica: id128(0x30), ClientAddr: "127.0.0.1:7400",
		MaxFrame: MaxFrameBytes, Requests: MaxConnRequests, Bytes: MaxConnBytes,
	}
	frame("ack.client", "HelloAck of n1 to a client: frames of 2 MiB, 4096 requests, 8 MiB", FrameHelloAck, 0, AppendHelloAck(nil, &ca))
	for c := Code(1); c <= maxCode; c++ {
		e := &Error{Code: c, Text: c.String()}
		id := uint64(7)
		if c.Closes() {
			id = 0
		}
		switch c {
		case CodeNotLeader:
			e.Leader = "127.0.0.1:7410"
		case CodeBusy:
			e.RetryAfterMs = 20
		}
		add(fmt.Sprintf("error.%d", c), fmt.Sprintf("Error %d, id %d, retry after %d ms, leader %q, text %q", c, id, e.RetryAfterMs, e.Leader, e.Text), AppendErrorFrame(nil, id, e))
	}
	put := AppendPut(nil, []byte("k"), []byte("v1"))
	frame("write.plain", "Write, id 1, no session, put k v1", FrameWrite, 1, AppendWrite(nil, Stamp{}, put))
	frame("write.session", "Write, id 2, session 9, seq 5, acked 3, put k v1", FrameWrite, 2, AppendWrite(nil, Stamp{Session: 9, Seq: 5, Acked: 3}, put))
	traced := Trace(bytes.Repeat([]byte{0xab}, TraceBytes))
	add("write.traced", "Write, id 3, as write.plain, with a trace context of 25 bytes 0xab", EndFrame(AppendWrite(BeginTracedFrame(nil, FrameWrite, 3, &traced), Stamp{}, put), 0))
	get := AppendGet(nil, []byte("k"))
	frame("read.linearizable", "Read, id 2, linearizable, get k", FrameRead, 2, AppendRead(nil, Linearizable, get))
	frame("read.lease", "Read, id 3, lease, get k", FrameRead, 3, AppendRead(nil, Lease, get))
	frame("read.stale", "Read, id 4, stale, get k", FrameRead, 4, AppendRead(nil, Stale, get))
	frame("reply.write", "WriteReply, id 1, revision 9, result of a put: ok", FrameWriteReply, 1, append(AppendReplyHeader(nil, 9), byte(StatusOK)))
	getResult := AppendItem([]byte{byte(StatusOK)}, testItem())
	frame("reply.read", "ReadReply, id 2, revision 9, result of a get: item created at 3, modified at 9, version 2, k = v1", FrameReadReply, 2, append(AppendReplyHeader(nil, 9), getResult...))
	frame("statusrequest.1", "Status, id 5", FrameStatus, 5, nil)
	st := testStatus()
	frame("status.1", "StatusReply, id 5, of n1: leader, ok, term 7, commit 100, applied 99, last 101, three members", FrameStatusReply, 5, AppendStatus(nil, &st))
	vs = append(vs, commandVectors()...)
	vs = append(vs, resultVectors()...)
	vs = append(vs, logVectors()...)
	return append(vs, peerVectors()...)
}

func commandVectors() []vector {
	var vs []vector
	add := func(name, what string, b []byte) { vs = append(vs, vector{name, what, b}) }
	k, v := []byte("k"), []byte("v1")
	put, del := AppendPut(nil, k, v), AppendDelete(nil, k)
	add("command.put", "put k v1", put)
	add("command.delete", "delete k", del)
	add("command.cas-absent", "cas k to v1 if it does not exist", AppendCAS(nil, Command{Mode: CASAbsent, Key: k, Expected: nil, Value: v}))
	add("command.cas-value", "cas k to v1 if it is v0", AppendCAS(nil, Command{Mode: CASValue, Key: k, Expected: []byte("v0"), Value: v}))
	add("command.cas-revision", "cas k to v1 if its mod revision is 9", AppendCAS(nil, Command{Mode: CASRevision, Key: k, Expected: []byte{9, 0, 0, 0, 0, 0, 0, 0}, Value: v}))
	add("command.batch", "batch of put k v1 and delete k", AppendBatchItem(AppendBatchItem(AppendBatchHeader(nil, 2), put), del))
	add("query.get", "get k", AppendGet(nil, k))
	add("query.scan", "scan from a to z, limit 10, keys only", AppendScan(nil, Query{Flags: ScanKeysOnly, Limit: 10, Start: []byte("a"), End: []byte("z")}))
	add("query.count", "scan from the first key to the last, limit 10000, count only", AppendScan(nil, Query{Flags: ScanCountOnly, Limit: MaxScanKeys}))
	return vs
}

func resultVectors() []vector {
	var vs []vector
	add := func(name, what string, b ...byte) { vs = append(vs, vector{name, what, b}) }
	add("result.ok", "put, delete or cas: ok", byte(StatusOK))
	add("result.not-found", "get or delete: not found", byte(StatusNotFound))
	add("result.refused", "any: refused with code 16, no space", byte(StatusRefused), byte(CodeNoSpace), 0)
	add("result.cas-absent", "cas: condition failed, the key does not exist", byte(StatusConditionFailed), 0)
	add("result.cas-other", "cas: condition failed, the item is as in reply.read", AppendItem([]byte{byte(StatusConditionFailed), 1}, testItem())...)
	add("result.batch", "batch of two: ok, not found", byte(StatusOK), 2, 0, 0, 0, 1, 0, 0, 0, byte(StatusOK), 1, 0, 0, 0, byte(StatusNotFound))
	add("scan.page", "scan: one item, more to come", AppendItem([]byte{byte(StatusOK), 1, 1, 0, 0, 0}, testItem())...)
	add("scan.count", "count-only scan: 10000 keys, go on at k", AppendItem([]byte{byte(StatusOK), 1, 0x10, 0x27, 0, 0}, Item{Key: []byte("k")})...)
	add("item.1", "item created at 3, modified at 9, version 2, k = v1", AppendItem(nil, testItem())...)
	return vs
}

func logVectors() []vector {
	m := testMembership()
	mb := AppendMembership(nil, &m)
	time := []byte{42, 0, 0, 0, 0, 0, 0, 0}
	stamp := AppendStamp(nil, Stamp{Time: 42, Session: 9, Seq: 5, Acked: 3})
	return []vector{
		{"membership.joint", "members n1, n2 (voters), n-4 (learner), outgoing 1 and 4, level 1, next id 5", mb},
		{"entry.noop", "noop entry, index 1, term 1, time 42", AppendEntry(nil, EntryHead{Type: EntryNoop, Index: 1, Term: 1}, time, nil)},
		{"entry.command", "command entry, index 9, term 2, time 42, session 9, seq 5, acked 3, put k v1", AppendEntry(nil, EntryHead{Type: EntryCommand, Index: 9, Term: 2}, stamp, AppendPut(nil, []byte("k"), []byte("v1")))},
		{"entry.config", "config entry, index 10, term 2, time 42, membership.joint", AppendEntry(nil, EntryHead{Type: EntryConfig, Index: 10, Term: 2}, time, mb)},
	}
}

func peerMessages() []PeerMessage {
	return []PeerMessage{
		{Type: FramePreVote, From: 1, Term: 6, Index: 10, LogTerm: 5},
		{Type: FramePreVoteReply, From: 2, Term: 6},
		{Type: FrameVote, From: 1, Term: 6, Index: 10, LogTerm: 5},
		{Type: FrameVoteReply, From: 2, Term: 6, Reject: true},
		{Type: FrameAppend, From: 1, Term: 5, Index: 10, LogTerm: 4, Commit: 9, Entries: testEntries()},
		{Type: FrameAppendReply, From: 2, Term: 5, Index: 12},
		{Type: FrameAppendReply, From: 2, Term: 5, Reject: true, Index: 10, Hint: 8, LogTerm: 3},
		{Type: FrameRound, From: 1, Term: 5, Round: 77, Commit: 9},
		{Type: FrameRoundReply, From: 2, Term: 5, Round: 77},
	}
}

func peerVectors() []vector {
	var vs []vector
	for i, m := range peerMessages() {
		what := fmt.Sprintf("%v from %d, term %d, index %d, log term %d, commit %d, hint %d, round %d, reject %v, %d bytes of entries",
			m.Type, m.From, m.Term, m.Index, m.LogTerm, m.Commit, m.Hint, m.Round, m.Reject, len(m.Entries))
		vs = append(vs, vector{fmt.Sprintf("peer.%d", i+1), what, AppendPeerFrame(nil, &m)})
	}
	return vs
}

func TestVectorsStayAsTheyAre(t *testing.T) {
	var out bytes.Buffer
	out.WriteString("# The messages of protocol version 1 in hex: what it is, then its name and bytes.\n")
	out.WriteString("# id128 values are 16 ascending bytes. hello to write, read, reply, status, error and peer are whole frames.\n")
	for _, v := range vectors() {
		fmt.Fprintf(&out, "\n# %s\n%s %x\n", v.what, v.name, v.b)
	}
	if *update {
		if err := os.WriteFile(vectorsFile, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	got, old := strings.Split(out.String(), "\n"), strings.Split(string(want), "\n")
	for i := range max(len(got), len(old)) {
		if i >= len(got) || i >= len(old) || got[i] != old[i] {
			t.Fatalf("line %d of %s changed: the protocol has, or -update was forgotten", i+1, vectorsFile)
		}
	}
}

// TestVectorsDecodeAndEncodeAgain reads the file, not the values it was made from.
func TestVectorsDecodeAndEncodeAgain(t *testing.T) {
	file, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(file)) {
		name, digits, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || name == "#" {
			continue
		}
		b, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		kind, _, _ := strings.Cut(name, ".")
		again, err := recode(kind, b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !bytes.Equal(again, b) {
			t.Errorf("%s: decoded and encoded again is\n%x, was\n%x", name, again, b)
		}
		n++
	}
	if n != len(vectors()) {
		t.Fatalf("%d vectors in the file, %d in the code", n, len(vectors()))
	}
}

// isFrame says whether vectors of this kind are whole frames.
func isFrame(kind string) bool {
	switch kind {
	case "command", "query", "result", "scan", "item", "membership", "entry":
		return false
	}
	return true
}

// recode decodes the message and encodes what it found.
func recode(kind string, b []byte) ([]byte, error) {
	if !isFrame(kind) {
		return recodeBody(kind, b)
	}
	f, err := ParseFrame(b, MaxAppendBytes)
	if err != nil {
		return nil, err
	}
	if f.Size != len(b) {
		return nil, fmt.Errorf("frame of %d bytes in %d", f.Size, len(b))
	}
	if kind == "peer" {
		m, err := ParsePeer(f)
		return AppendPeerFrame(nil, &m), err
	}
	body, err := recodeBody(kind, f.Body)
	dst := BeginFrame(nil, f.Type, f.ID)
	if f.Trace != nil {
		dst = BeginTracedFrame(nil, f.Type, f.ID, (*Trace)(f.Trace))
	}
	return EndFrame(append(dst, body...), 0), err
}

// recodeBody does it for a body, or what has no frame of its own.
func recodeBody(kind string, b []byte) ([]byte, error) {
	switch kind {
	case "hello":
		h, err := ParseHello(b)
		return AppendHello(nil, &h), err
	case "ack":
		a, err := ParseHelloAck(b)
		return AppendHelloAck(nil, &a), err
	case "error":
		e, err := ParseError(b)
		if err != nil {
			return nil, err
		}
		return AppendError(nil, e), nil
	case "write":
		s, command, err := ParseWrite(b)
		return AppendWrite(nil, Stamp{Session: s.Session, Seq: s.Seq, Acked: s.Acked}, command), err
	case "read":
		c, query, err := ParseRead(b)
		return AppendRead(nil, c, query), err
	case "reply":
		rev, result, err := ParseReply(b)
		return append(AppendReplyHeader(nil, rev), result...), err
	case "status":
		s, err := ParseStatus(b)
		return AppendStatus(nil, &s), err
	case "statusrequest":
		return b, nil
	}
	return recodeData(kind, b)
}

func recodeData(kind string, b []byte) ([]byte, error) {
	switch kind {
	case "membership":
		m, err := ParseMembership(b)
		return AppendMembership(nil, &m), err
	case "entry":
		e, err := ParseEntry(b)
		return AppendEntry(nil, EntryHead{Type: e.Type, Index: e.Index, Term: e.Term}, e.Payload, nil), err
	case "command":
		c, err := ParseCommand(b)
		return encodeCommand(c), err
	case "query":
		q, err := ParseQuery(b)
		if q.Op == QueryGet {
			return AppendGet(nil, q.Key), err
		}
		return AppendScan(nil, q), err
	case "scan":
		res, err := ParseScanResult(b)
		dst := []byte{byte(StatusOK), bit(res.More), byte(res.Count), byte(res.Count >> 8), byte(res.Count >> 16), 0}
		return append(dst, res.Items...), err
	case "item":
		it, rest, err := ParseItem(b)
		return append(AppendItem(nil, it), rest...), err
	case "result":
		return b, nil
	}
	return nil, fmt.Errorf("no decoder for %q", kind)
}

func encodeCommand(c Command) []byte {
	switch c.Op {
	case OpPut:
		return AppendPut(nil, c.Key, c.Value)
	case OpDelete:
		return AppendDelete(nil, c.Key)
	case OpCAS:
		return AppendCAS(nil, Command{Mode: c.Mode, Key: c.Key, Expected: c.Expected, Value: c.Value})
	}
	dst := AppendBatchHeader(nil, c.Count)
	for rest := c.Batch; len(rest) > 0; {
		item, after, err := NextBatchItem(rest)
		if err != nil {
			return nil
		}
		dst, rest = AppendBatchItem(dst, encodeCommand(item)), after
	}
	return dst
}
