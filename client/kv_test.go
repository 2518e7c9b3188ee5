package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dnode-engine/dnode/wire"
)

func TestOperations(t *testing.T) {
	nw := newNetwork(t, "n1:1")
	c := nw.open(t, "n1:1")
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Get(ctx, "a"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("get of a missing key: %v", err)
	}
	r1, err := c.Put(ctx, "a", []byte("one"))
	must(err)
	r2, err := c.Put(ctx, "a", []byte("two"))
	must(err)
	it, err := c.Get(ctx, "a", ReadOptions{Consistency: Lease})
	must(err)
	if it.Key != "a" || string(it.Value) != "two" || it.CreateRevision != r1 || it.ModRevision != r2 || it.Version != 2 {
		t.Fatalf("got %+v after puts at %d and %d", it, r1, r2)
	}

	_, err = c.CompareAndSet(ctx, "a", Absent(), []byte("x"))
	var cond *ConditionError
	if !errors.Is(err, ErrConditionFailed) || !errors.As(err, &cond) || !cond.Exists || string(cond.Current.Value) != "two" {
		t.Fatalf("set if absent: %v", err)
	}
	_, err = c.CompareAndSet(ctx, "b", ValueIs([]byte("y")), []byte("x"))
	if !errors.As(err, &cond) || cond.Exists || cond.Key != "b" {
		t.Fatalf("set if value of a missing key: %v", err)
	}
	r3, err := c.CompareAndSet(ctx, "a", ValueIs([]byte("two")), []byte("three"))
	must(err)
	_, err = c.CompareAndSet(ctx, "a", RevisionIs(r3), []byte("four"))
	must(err)
	if _, err := c.CompareAndSet(ctx, "a", Condition{}, nil); !errors.Is(err, ErrRefused) {
		t.Fatalf("empty condition: %v", err)
	}

	_, existed, err := c.Delete(ctx, "a")
	if must(err); !existed {
		t.Error("delete did not find the key")
	}
	_, existed, err = c.Delete(ctx, "a")
	if must(err); existed {
		t.Error("delete found a deleted key")
	}
	st, err := c.Status(ctx, "")
	if must(err); st.Name != "n1:1" || st.Role != wire.RoleLeader {
		t.Errorf("status %+v", st)
	}
}

func TestBatch(t *testing.T) {
	nw := newNetwork(t, "n1:1")
	c := nw.open(t, "n1:1")
	var b Batch
	if res, err := c.Batch(t.Context(), &b); err != nil || len(res.Outcomes) != 0 || nw.written() != 0 {
		t.Fatalf("empty batch: %+v, %v", res, err)
	}
	b.Put("k", []byte("v"))
	b.CompareAndSet("k", Absent(), nil)
	b.Delete("nope")
	b.Delete("k")
	res, err := c.Batch(t.Context(), &b)
	want := []Outcome{Done, ConditionFailed, NotFound, Done}
	if err != nil || !slices.Equal(res.Outcomes, want) || res.Revision == 0 {
		t.Fatalf("%+v, %v; want %v", res, err, want)
	}
	b.Reset()
	b.Put("", nil)
	if _, err := c.Batch(t.Context(), &b); !errors.Is(err, ErrRefused) {
		t.Fatalf("empty key: %v", err)
	}
}

func TestScan(t *testing.T) {
	nw := newNetwork(t, "n1:1")
	c := nw.open(t, "n1:1")
	var b Batch
	for i := range 20 {
		b.Put(fmt.Sprintf("k%02d", i), fmt.Appendf(nil, "v%d", i))
	}
	b.Put("a", nil)
	b.Put("z\xff\xff", nil)
	if _, err := c.Batch(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	f := func(r Range, want ...string) {
		t.Helper()
		var got []string
		for it, err := range c.Scan(t.Context(), r) {
			if err != nil {
				t.Fatal(err)
			}
			if it.Key[0] == 'k' && !r.KeysOnly && string(it.Value) != fmt.Sprintf("v%d", (it.Key[1]-'0')*10+it.Key[2]-'0') {
				t.Errorf("value of %s is %q", it.Key, it.Value)
			}
			got = append(got, it.Key)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%+v: got %q, want %q", r, got, want)
		}
		if r.Limit == 0 {
			if n, err := c.Count(t.Context(), r); err != nil || n != len(want) {
				t.Errorf("%+v: count %d, %v; want %d", r, n, err, len(want))
			}
		}
	}
	f(Range{Prefix: "k0"}, "k00", "k01", "k02", "k03", "k04", "k05", "k06", "k07", "k08", "k09")
	f(Range{Prefix: "k", Start: "k17"}, "k17", "k18", "k19")
	f(Range{Start: "k18"}, "k18", "k19", "z\xff\xff")
	f(Range{Start: "k18", End: "k19"}, "k18")
	f(Range{Prefix: "k", Limit: 4, KeysOnly: true}, "k00", "k01", "k02", "k03")
	f(Range{Prefix: "z\xff"}, "z\xff\xff")
	f(Range{Prefix: "k", End: "a"})
	f(Range{Start: "z\xff\xff\x00"})

	p, err := c.ScanPage(t.Context(), Range{Prefix: "k"})
	if err != nil || len(p.Items) != 3 || !p.More || p.Next != "k02\x00" || p.Revision == 0 {
		t.Errorf("page %+v, %v", p, err)
	}
	for range c.Scan(t.Context(), Range{}) {
		break // an abandoned iterator leaves nothing behind: goleak says so
	}
}

func TestPrefixEnd(t *testing.T) {
	f := func(prefix, want string) {
		t.Helper()
		if got := prefixEnd(prefix); got != want {
			t.Errorf("prefixEnd(%q) = %q, want %q", prefix, got, want)
		}
	}
	f("", "")
	f("a", "b")
	f("a\xff", "b")
	f("a\xfe", "a\xff")
	f("\xff\xff", "")
	f("a\xffb", "a\xffc")
}

// What is over a limit is refused before anything is sent.
func TestLimits(t *testing.T) {
	nw := newNetwork(t, "n1:1")
	c := nw.open(t, "n1:1")
	ctx := t.Context()
	long := strings.Repeat("k", wire.MaxKeyBytes+1)
	f := func(name string, want error, err error) {
		t.Helper()
		if !errors.Is(err, want) || SafeToRetry(err) || OutcomeUnknown(err) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	_, err := c.Put(ctx, long, nil)
	f("long key", ErrTooLarge, err)
	_, err = c.Put(ctx, "", nil)
	f("empty key", ErrRefused, err)
	_, err = c.Put(ctx, "k", make([]byte, wire.MaxCommandBytes))
	f("large value", ErrTooLarge, err)
	_, err = c.CompareAndSet(ctx, "k", ValueIs(make([]byte, 600<<10)), make([]byte, 600<<10))
	f("large expected value", ErrTooLarge, err)
	_, err = c.Get(ctx, long)
	f("get long key", ErrTooLarge, err)
	_, _, err = c.Delete(ctx, long)
	f("delete long key", ErrTooLarge, err)
	_, err = c.ScanPage(ctx, Range{Start: long + "k"})
	f("scan from a long key", ErrTooLarge, err)
	_, err = c.ScanPage(ctx, Range{Limit: -1})
	f("scan with a negative limit", ErrRefused, err)
	_, err = c.Get(ctx, "k", ReadOptions{Consistency: 9})
	f("unknown level", ErrRefused, err)
	_, err = c.Get(ctx, "k", ReadOptions{Endpoint: "nonsense"})
	f("bad endpoint", ErrRefused, err)
	var b Batch
	for range wire.MaxBatchOps + 1 {
		b.Delete("k")
	}
	_, err = c.Batch(ctx, &b)
	f("long batch", ErrTooLarge, err)
	b.Reset()
	b.Put("a", make([]byte, 600<<10))
	b.Put("b", make([]byte, 600<<10))
	_, err = c.Batch(ctx, &b)
	f("large batch", ErrTooLarge, err)
	f("async", ErrTooLarge, c.PutAsync(ctx, long, nil, func(Revision, error) { t.Error("completion of a refused put") }))
	if nw.written() != 0 {
		t.Errorf("%d commands arrived", nw.written())
	}
	// The largest that is allowed fits.
	if _, err := c.Put(ctx, "k", make([]byte, wire.MaxCommandBytes-8)); err != nil {
		t.Error(err)
	}
	if it, err := c.Get(ctx, "k"); err != nil || len(it.Value) != wire.MaxCommandBytes-8 {
		t.Errorf("%d bytes, %v", len(it.Value), err)
	}
}

func TestConfig(t *testing.T) {
	f := func(cfg Config, want string) {
		t.Helper()
		_, err := Open(context.Background(), cfg)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", cfg, err, want)
		}
	}
	f(Config{}, "no endpoints")
	f(Config{Endpoints: []string{"host"}}, "want host:port")
	f(Config{Endpoints: []string{"host:"}}, "port is missing")
	f(Config{Endpoints: []string{"host:http"}}, `"http" is no port`)
	f(Config{Endpoints: []string{"host:65536"}}, `"65536" is no port`)
	f(Config{Endpoints: []string{"host:0"}}, `"0" is no port`)
	f(Config{Endpoints: []string{"h:1"}, Timeout: -1}, "negative")
	f(Config{Endpoints: []string{"h:1"}, Name: strings.Repeat("n", 65)}, "at most 64")
}

func TestErrorText(t *testing.T) {
	err := error(&Error{Op: "put", Class: ClassUnknown, Endpoint: "n1:1", Err: context.DeadlineExceeded})
	want := "cannot put: outcome unknown (n1:1): context deadline exceeded; it may have been carried out: read before writing again"
	if err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	if !OutcomeUnknown(err) || SafeToRetry(err) || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnavailable) {
		t.Error("the error is not what it says")
	}
}
