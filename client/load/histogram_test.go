package load

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestHistogramBuckets(t *testing.T) {
	f := func(d time.Duration) {
		t.Helper()
		b := bucketOf(d)
		mid := middleOf(b)
		if off := math.Abs(float64(mid-d)) / max(float64(d), 1); off > 0.004 {
			t.Errorf("%d is reported as %d, %.2f %% off", d, mid, 100*off)
		}
		if b < 0 || b >= bucketNum {
			t.Errorf("%d falls into bucket %d of %d", d, b, bucketNum)
		}
		if d > 0 && bucketOf(d-1) > b {
			t.Errorf("bucket of %d is above that of %d", d-1, d)
		}
	}
	for d := range time.Duration(5000) {
		f(d)
	}
	for shift := range maxBits - 1 {
		f(1<<shift - 1)
		f(1 << shift)
		f(1<<shift + 1)
	}
	f(1<<maxBits - 1)
	if b := bucketOf(math.MaxInt64); b != bucketNum-1 {
		t.Errorf("the longest duration falls into bucket %d of %d", b, bucketNum)
	}
}

func TestHistogramQuantiles(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	for round := range 20 {
		var whole, odd, even Histogram
		values := make([]time.Duration, 1+rnd.IntN(5000))
		sum := time.Duration(0)
		for i := range values {
			values[i] = time.Duration(math.Exp(rnd.Float64() * 22))
			sum += values[i]
			whole.Record(values[i])
			if i%2 == 0 {
				even.Record(values[i])
			} else {
				odd.Record(values[i])
			}
		}
		odd.Merge(&even)
		if odd != whole {
			t.Fatalf("round %d: merged parts differ from the whole", round)
		}
		slices.Sort(values)
		for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 0.999, 1} {
			rank := max(int(math.Ceil(q*float64(len(values)))), 1)
			want, got := values[rank-1], whole.Quantile(q)
			if math.Abs(float64(got-want)) > 0.01*float64(want)+1 {
				t.Errorf("round %d: quantile %v of %d values is %v, want %v", round, q, len(values), got, want)
			}
		}
		if whole.Max() != values[len(values)-1] || whole.Mean() != sum/time.Duration(len(values)) || whole.Count() != uint64(len(values)) {
			t.Errorf("round %d: max %v, mean %v, count %d", round, whole.Max(), whole.Mean(), whole.Count())
		}
	}
}

func TestHistogramEmptyAndNegative(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 || h.Mean() != 0 || h.Max() != 0 {
		t.Error("an empty histogram is not all zero")
	}
	h.Record(-time.Second)
	if h.Count() != 1 || h.Quantile(1) != 0 {
		t.Errorf("a negative duration counts as %v", h.Quantile(1))
	}
}

func BenchmarkHistogramRecord(b *testing.B) {
	var h Histogram
	for i := range b.N {
		h.Record(time.Duration(i * 977))
	}
}

// What one process wrote another one reads, and damage is refused.
func TestHistogramJSON(t *testing.T) {
	var h, back Histogram
	for d := time.Duration(1); d < 1<<45; d = d*3 + 1 {
		h.Record(d)
		h.Record(d)
	}
	text, err := json.Marshal(&h)
	if err == nil {
		err = json.Unmarshal(text, &back)
	}
	if err != nil || back != h {
		t.Errorf("read back from %s: differs, %v", text, err)
	}
	if err := json.Unmarshal([]byte(`{"buckets":[[99999,1]]}`), &back); err == nil {
		t.Error("a bucket that does not exist was read")
	}
}
