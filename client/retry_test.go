package client

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/wire"
)

// The retry table of the package documentation, row by row.
func TestDecide(t *testing.T) {
	f := func(name string, a Attempt, want Action, class Class) {
		t.Helper()
		if a.Left == 0 {
			a.Left = time.Second
		}
		if a.Attempts == 0 {
			a.Attempts = 2
		}
		d := Decide(a)
		if d.Action != want || d.Class != class {
			t.Errorf("%s: %v, class %d; want %v, class %d", name, d.Action, d.Class, want, class)
		}
		wait := d.Action == RetryWait || d.Action == RetryAway
		if wait != (d.Backoff > 0) || wait && d.Backoff > a.Left {
			t.Errorf("%s: %v with backoff %v, %v left", name, d.Action, d.Backoff, a.Left)
		}
	}
	const read, write = false, true
	over := -time.Nanosecond
	answered := func(w bool, c wire.Code) Attempt { return Attempt{Write: w, Stage: StageAnswered, Code: c} }

	for _, w := range []bool{read, write} {
		f("not sent, first", Attempt{Write: w, Stage: StageNotSent, Attempts: 1}, RetryNow, 0)
		f("not sent, again", Attempt{Write: w, Stage: StageNotSent}, RetryAway, 0)
		f("not sent, time over", Attempt{Write: w, Stage: StageNotSent, Left: over}, Fail, ClassUnavailable)
		f("not sent, given up", Attempt{Write: w, Stage: StageNotSent, Final: true}, Fail, ClassUnavailable)

		f("not leader", answered(w, wire.CodeNotLeader), RetryAway, 0)
		hint := answered(w, wire.CodeNotLeader)
		hint.Hint = true
		f("not leader, hint", hint, RetryLeader, 0)
		hint.Hops = maxHops
		f("not leader, hints in a circle", hint, RetryAway, 0)
		hint.Final = true
		f("not leader, given up", hint, Fail, ClassUnavailable)

		f("unavailable", answered(w, wire.CodeUnavailable), RetryAway, 0)
		f("shutdown", answered(w, wire.CodeShutdown), RetryAway, 0)
		f("fenced", answered(w, wire.CodeFenced), RetryAway, 0)
		f("busy", answered(w, wire.CodeBusy), RetryWait, 0)
		f("level not to be had", answered(w, wire.CodeConsistency), RetryWait, 0)
		f("too large", answered(w, wire.CodeTooLarge), Fail, ClassTooLarge)
		f("bad request", answered(w, wire.CodeBadRequest), Fail, ClassRefused)
		f("unknown type", answered(w, wire.CodeUnknownType), Fail, ClassRefused)
		f("no space", answered(w, wire.CodeNoSpace), Fail, ClassNoSpace)
		f("corrupt", answered(w, wire.CodeCorrupt), RetryAway, 0)
		corrupt := answered(w, wire.CodeCorrupt)
		corrupt.Attempts = maxCorruptRetries
		f("corrupt, for good", corrupt, Fail, ClassCorrupt)
		busy := answered(w, wire.CodeBusy)
		busy.Left = over
		f("busy, time over", busy, Fail, ClassBusy)
	}

	f("read, lost", Attempt{Stage: StageLost}, RetryAway, 0)
	f("read, lost, time over", Attempt{Stage: StageLost, Left: over}, Fail, ClassUnavailable)
	f("read, given up", Attempt{Stage: StageSent, Final: true}, Fail, ClassUnavailable)
	f("read, internal", answered(read, wire.CodeInternal), RetryAway, 0)
	f("read, unknown", answered(read, wire.CodeUnknown), RetryAway, 0)
	f("read, code from the future", answered(read, 999), RetryAway, 0)

	f("write, lost", Attempt{Write: true, Stage: StageLost}, Unknown, ClassUnknown)
	f("write, lost at once", Attempt{Write: true, Stage: StageLost, Attempts: 1}, Unknown, ClassUnknown)
	f("write, given up", Attempt{Write: true, Stage: StageSent, Final: true}, Unknown, ClassUnknown)
	f("write, internal", answered(write, wire.CodeInternal), Unknown, ClassUnknown)
	f("write, unknown", answered(write, wire.CodeUnknown), Unknown, ClassUnknown)
	f("write, code from the future", answered(write, 999), Unknown, ClassUnknown)
	f("write, connection code", answered(write, wire.CodeCredit), Unknown, ClassUnknown)

	session := func(s Stage, c wire.Code) Attempt {
		return Attempt{Write: true, Idempotent: true, Stage: s, Code: c}
	}
	f("session, lost", session(StageLost, 0), RetryAway, 0)
	f("session, unknown", session(StageAnswered, wire.CodeUnknown), RetryAway, 0)
	f("session, refused", session(StageAnswered, wire.CodeTooLarge), Fail, ClassTooLarge)
	maybe := session(StageAnswered, wire.CodeBusy)
	maybe.Maybe = true
	f("session, lost, then busy", maybe, RetryWait, 0)
	maybe.Left = over
	f("session, lost, then busy, time over", maybe, Unknown, ClassUnknown)
	maybe = session(StageAnswered, wire.CodeTooLarge)
	maybe.Maybe = true
	f("session, lost, then refused", maybe, Unknown, ClassUnknown)
	maybe = session(StageNotSent, 0)
	maybe.Maybe, maybe.Final = true, true
	f("session, lost, then given up", maybe, Unknown, ClassUnknown)
}

// What must hold for every input: a write that may have been carried out is
// neither repeated without a session nor called failed, a read is never called
// unknown, nothing is tried again after the end.
func TestDecideInvariants(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	flip := func() bool { return rnd.IntN(2) == 0 }
	for range 200_000 {
		a := Attempt{
			Write: flip(), Idempotent: flip(), Stage: Stage(1 + rnd.IntN(4)), Code: wire.Code(rnd.IntN(26)),
			Hint: flip(), Hops: rnd.IntN(5), Attempts: 1 + rnd.IntN(100), RetryAfter: time.Duration(rnd.IntN(1e10)),
			Left: time.Duration(rnd.IntN(1e9) - 1e8), Final: flip(),
		}
		a.Maybe = a.Write && a.Idempotent && flip()
		d := Decide(a)
		maybe := a.Maybe || a.Stage == StageSent || a.Stage == StageLost || a.Stage == StageAnswered && !a.Code.NotCarriedOut()
		again := d.Action != Fail && d.Action != Unknown
		switch {
		case a.Write && maybe && !a.Idempotent && again:
			t.Fatalf("%+v is repeated: %v", a, d)
		case a.Write && maybe && d.Action == Fail:
			t.Fatalf("%+v may have been carried out and is called failed", a)
		case (!a.Write || !maybe) && d.Action == Unknown:
			t.Fatalf("%+v was not carried out and is called unknown", a)
		case again && (a.Final || a.Left <= 0):
			t.Fatalf("%+v is tried again after the end: %v", a, d)
		case d.Backoff < 0 || d.Backoff > MaxBackoff || again && d.Backoff > a.Left:
			t.Fatalf("%+v waits for %v", a, d.Backoff)
		case d.Maybe != maybe:
			t.Fatalf("%+v: maybe %v afterwards", a, d.Maybe)
		case d.Action == RetryLeader && d.Hops != a.Hops+1 || d.Action != RetryLeader && d.Hops != 0:
			t.Fatalf("%+v: %v after %d hops", a, d.Action, d.Hops)
		case (d.Class != 0) == again:
			t.Fatalf("%+v: %v with class %d", a, d.Action, d.Class)
		}
	}
}
